"""DPM-Solver++, multistep, for the probability flow and for the SDE (Lu et al. 2022b).

With l = log(alpha / sigma), h = l_s - l_t > 0 for a step from t to s and D an estimate of x_0, the
solution of the probability flow (their eq. 9) and of the SDE (their eq. 19) is, to second order,

    x_s = (sigma_s / sigma_t) x + alpha_s (1 - e^-h) D                                  (1)
    x_s = (sigma_s / sigma_t) e^-h x + alpha_s (1 - e^-2h) D + sigma_s sqrt(1 - e^-2h) z    (2)
    D   = x_0 + (h / 2 h_before) (x_0 - x_0 before)                                     (3)

The first step and one to the clean node take D = x_0.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from options.choices import require
from sde_lib import expand_right
from solvers.fixed_step import Draw, FixedStep, StepResult


class History(NamedTuple):
    """The x_0 and the h of the step before; h is inf before the first, which makes (3) D = x_0."""

    x_0: Array
    h: Float[Array, " b"]


@dataclasses.dataclass(frozen=True)
class DPMSolverPP(FixedStep):
    """DPM-Solver++, multistep: of the probability flow, or with noise of the SDE. One stage.

    Without noise, (1), of order 2, or 1, which is DDIM; with noise, (2), weakly of as much. Ends at
    the clean node or before.

    Attributes:
      order: 1 or 2.
      noise: whether to step by (2), which solves the SDE, in place of (1).
    """

    order: int = 2
    noise: bool = False
    stages = 1

    def __post_init__(self) -> None:
        require(self.order in (1, 2), "order", self.order, "1 or 2")

    def init(self, x: Array) -> History:
        return History(jnp.zeros_like(x), jnp.full(len(x), jnp.inf))

    def step(self, process, predict, x, node, node_next, state: History, draw: Draw) -> StepResult:
        found = predict(x, node)
        x_0 = found.x_0
        # e^-h in this form is 0, not nan, at the clean node and where alpha is 0.
        decay = node_next.sigma * node.alpha / (node.sigma * node_next.alpha)
        h = -jnp.log(decay)
        data = x_0
        if self.order == 2:
            slope = jnp.where(jnp.isfinite(h) & jnp.isfinite(state.h), h / (2 * state.h), 0.0)
            data = x_0 + expand_right(slope, x) * (x_0 - state.x_0)
        keep = node_next.sigma / node.sigma
        if self.noise:
            gain = node_next.alpha * (1 - decay) * (1 + decay)
            spread = node_next.sigma * jnp.sqrt((1 - decay) * (1 + decay))
            keep = keep * decay
        else:
            gain = node_next.alpha * (1 - decay)
        x_mean = expand_right(keep, x) * x + expand_right(gain, x) * data
        history = History(x_0, h)
        if not self.noise:
            return StepResult(x_mean, x_mean, history, aux=found.aux)
        x = x_mean + expand_right(spread, x) * draw(0)
        return StepResult(x, x_mean, history, aux=found.aux)
