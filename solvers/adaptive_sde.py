"""The adaptive solver of the reverse SDE (Jolicoeur-Martineau et al. 2021, algorithm 1).

A step of Euler-Maruyama and one of the stochastic improved Euler method share their noise:

    x'  = x - h D(x, t) + g(t) dW,      D(x, t) = f x - g^2 score
    x~  = x - h D(x', t - h) + g(t - h) dW                                              (1)
    x'' = (x' + x~) / 2

The step is accepted, and x'' taken, where the root mean square of (x' - x'') / delta is at most 1;

    delta = max(atol, rtol max(|x'|, |x'_previous|)).                                   (2)

The paper draws dW anew after a rejection, which favours small increments. Here dW is the increment
of one Brownian path of the sample, so a rejected step is tried again on a part of the same path.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from parameterization import Prediction
from sampling import RunContext
from sde_lib import Node, Process, expand_right
from solvers.adaptive import Adaptive, Attempt, StepController, scaled_norm
from solvers.predictor_corrector import require_finite_diffusion

PIXEL_STEP = 0.0039  # of the data's range


@dataclasses.dataclass(frozen=True)
class AdaptiveSDE(Adaptive):
    """The reverse SDE by (1), with steps that (2) adapts to each sample. Two stages.

    At equal steps of weak order 2, as the noise is additive, and of strong order 1.

    Attributes:
      rtol: tolerance of a step relative to the sample; 0.01 to 0.05 in the paper.
      atol: tolerance of a step; unset, 0.0039 of the data's range, about a step of an 8-bit pixel,
        as in the paper; of states in [-1, 1] where no space says another.
    """

    rtol: float = 0.02
    atol: float | None = None
    stages = 2

    def in_space(self, space: Any) -> "AdaptiveSDE":
        """The solver for states of this space, see `data.space.Space`."""
        if self.atol is not None or space is None or space.low is None:
            return self
        return dataclasses.replace(self, atol=PIXEL_STEP * (space.high - space.low))

    @property
    def controller(self) -> StepController:
        return StepController(order=1 / 0.9, safety=self.safety)

    def validate(self, process: Process, grid: Node) -> None:
        super().validate(process, grid)
        require_finite_diffusion(type(self).__name__, process, grid)

    def refresh(self, process: Process, run: RunContext, x: Array, node: Node) -> Array:
        return x  # x'_previous of (2)

    def attempt(self, process, run, x, node, node_next, memory) -> Attempt:
        h = expand_right(node.t - node_next.t, x)
        noise = run.brownian(node_next.t, node.t, x.shape)
        drift, g, _ = reverse_sde(process, run, x, node)
        euler = x - h * drift + g * noise
        drift_next, g_next, found = reverse_sde(process, run, euler, node_next)
        improved = x - h * drift_next + g_next * noise
        x_next = (euler + improved) / 2
        atol = 2 * PIXEL_STEP if self.atol is None else self.atol
        delta = jnp.maximum(atol, self.rtol * jnp.maximum(abs(euler), abs(memory)))
        error = scaled_norm(euler - x_next, delta, run.mask)
        mean = x_next - (g + g_next) / 2 * noise
        return Attempt(x_next, mean, error, euler, found.aux)


def reverse_sde(
    process: Process, run: RunContext, x: Array, node: Node
) -> tuple[Array, Array, Prediction]:
    """Drift D of (1), (batch, *shape), g with the same number of axes, and what they are from."""
    drift, g = process.sde(x, node.t)
    g = expand_right(g, x)
    found = run.predict_at(x, node)
    return drift - g**2 * found.score, g, found
