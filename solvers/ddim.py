"""DDIM (Song, Meng & Ermon 2021, "Denoising Diffusion Implicit Models")."""

import dataclasses

import jax.numpy as jnp

from options.choices import require
from sde_lib import expand_right, posterior_of
from solvers.fixed_step import Draw, FixedStep, StepResult


@dataclasses.dataclass(frozen=True)
class DDIM(FixedStep):
    """DDIM (eq. 12), deterministic or with some of its noise drawn anew.

        x_s = alpha_s x_0 + sqrt(sigma_s^2 - c^2) eps + c z at the predicted (x_0, eps)

    c is `eta` times the posterior's standard deviation (eq. 16): 0 gives the probability flow, 1
    ancestral sampling. One stage; order 1 on the flow for eta 0, weak order 1 otherwise; exact for
    one-point data. Ends at the clean node or before.

    Attributes:
      eta: in [0, 1], how much of the noise is drawn anew.
    """

    eta: float = 0.0
    stages = 1

    def __post_init__(self) -> None:
        require(0 <= self.eta <= 1, "eta", self.eta, "a number in [0, 1]")

    def step(self, process, predict, x, node, node_next, state, draw: Draw) -> StepResult:
        found = predict(x, node)
        c = self.eta * jnp.sqrt(posterior_of(node, node_next).variance)
        kept = jnp.sqrt(jnp.maximum(node_next.sigma**2 - c**2, 0.0))
        x_mean = expand_right(node_next.alpha, x) * found.x_0 + expand_right(kept, x) * found.eps
        if self.eta == 0:
            return StepResult(x_mean, x_mean, state, aux=found.aux)
        x = x_mean + expand_right(c, x) * draw(0)
        return StepResult(x, x_mean, state, aux=found.aux)
