"""Noise drawn wholly anew in every step (Luhman & Luhman 2020, eq. 12)."""

import dataclasses

import jax.numpy as jnp

from options.choices import require
from sde_lib import expand_right
from solvers.fixed_step import Draw, FixedStep, StepResult


@dataclasses.dataclass(frozen=True)
class Renoising(FixedStep):
    """The predicted x_0, noised anew (Luhman & Luhman 2020, "Diffusion Models for Handwriting
    Generation", eq. 12; "multistep consistency sampling", Song et al. 2023, algorithm 1).

        x_s = alpha_s x_0 + sigma_s z

    One stage; exact for one-point data. Of other data the spread comes out too small, the more so
    the more steps: that of a Gaussian tends to 1 / sqrt(2) of its own, as each step replaces x_0 by
    its mean given x_t. Ends at the clean node or before.

    Attributes:
      quiet_until: no noise is added in steps that end at this time or before; the published code
        has 1 / 60.
    """

    quiet_until: float = 0.0
    stages = 1

    def __post_init__(self) -> None:
        require(self.quiet_until >= 0, "quiet_until", self.quiet_until, "a time from 0 on")

    def step(self, process, predict, x, node, node_next, state, draw: Draw) -> StepResult:
        found = predict(x, node)
        x_mean = expand_right(node_next.alpha, x) * found.x_0
        noise = jnp.where(node_next.t <= self.quiet_until, 0.0, node_next.sigma)
        return StepResult(x_mean + expand_right(noise, x) * draw(0), x_mean, state, aux=found.aux)
