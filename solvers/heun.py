"""Heun's method on the probability flow, plain and with churn (Karras et al. 2022).

For a process with sigma = t and alpha = 1 these are their algorithms 1 and 2; velocity, noise and
levels are written so that they hold for any process.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from options.choices import require_non_negative
from options.errors import InvalidValue
from sampling import select
from sde_lib import Node, Process, expand_right
from solvers.fixed_step import Draw, FixedStep, Predict, StepResult


@dataclasses.dataclass(frozen=True)
class Heun(FixedStep):
    """Heun's method for the probability flow: the trapezoidal rule after an Euler step, of order 2
    (Karras et al. 2022, alg. 1). Two stages.

    A step to the clean node, where there is no velocity, is Euler's alone, of one evaluation.
    """

    stages = 2

    def step(self, process, predict, x, node, node_next, state, draw: Draw) -> StepResult:
        return heun_step(process, predict, x, node, node_next)


def heun_step(
    process: Process, predict: Predict, x: Array, node: Node, node_next: Node
) -> StepResult:
    """One step, which remembers nothing."""
    dt = expand_right(node_next.t - node.t, x)
    first = predict(x, node)
    slope, aux = first.velocity(process), first.aux or {}
    euler = x + dt * slope
    clean = node_next.sigma == 0
    # Where some samples of the batch are at the clean node, theirs is evaluated elsewhere.
    safe = Node(*(jnp.where(clean, old, new) for old, new in zip(node, node_next, strict=True)))

    def correct() -> tuple[Array, Any]:
        second = predict(euler, safe)
        return x + dt * (slope + second.velocity(process)) / 2, second.aux or {}

    found = jax.lax.cond(jnp.all(clean), lambda: (euler, aux), correct)
    x_next, aux = select(clean, (euler, aux), found)
    evaluations = jnp.where(jnp.all(clean), 1, jnp.full(len(x), 2))
    return StepResult(x_next, x_next, None, evaluations, aux)


@dataclasses.dataclass(frozen=True)
class StochasticHeun(FixedStep):
    """Heun's step after noise was added, churn (Karras et al. 2022, alg. 2). Two stages.

    The level s = sigma / alpha is first raised to (1 + gamma) s with gamma = min(churn / N,
    sqrt(2) - 1) for N steps, where s lies in [s_min, s_max]. With churn 0 it is Heun's, of order 2.
    Raising the level takes one marginal exactly to the other, so with churn the error of the
    distribution is that of Heun's steps: weak order 2.

    Attributes:
      num_steps: N, 0 for that of the grid; a grid of another number is refused.
      churn: how much noise is added over the whole run, S_churn of the paper.
      s_min, s_max: the levels s between which noise is added.
      s_noise: factor of that noise's standard deviation, a little above 1 against lost detail.
    """

    num_steps: int = 0
    churn: float = 40.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    stages = 2

    def __post_init__(self) -> None:
        require_non_negative(self, "num_steps", "churn", "s_min", "s_max", "s_noise")

    def validate(self, process: Process, grid: Node) -> None:
        steps = grid.t.size - 1
        if self.num_steps not in (0, steps):
            raise InvalidValue("num_steps", self.num_steps, but=f"the grid has {steps} steps")

    def on(self, grid: Node) -> "StochasticHeun":
        return dataclasses.replace(self, num_steps=grid.t.size - 1)

    def step(self, process, predict, x, node, node_next, state, draw: Draw) -> StepResult:
        x, node = self._churned(process, x, node, draw(0))
        return heun_step(process, predict, x, node, node_next)

    def _churned(self, process: Process, x: Array, node: Node, z: Array) -> tuple[Array, Node]:
        """The state with noise added, up to the raised node; not above the prior's level."""
        gamma = min(self.churn / self.num_steps, math.sqrt(2) - 1)
        s = node.sigma / node.alpha
        churns = (s >= self.s_min) & (s <= self.s_max)
        t = process.time_of_log_snr(-2 * jnp.log((1 + gamma) * s))
        raised = process.node(jnp.minimum(t, process.t_max))
        churns &= raised.t > node.t
        raised = Node(*(jnp.where(churns, up, at) for up, at in zip(raised, node, strict=True)))
        ratio = jnp.where(churns, raised.alpha / node.alpha, 1.0)
        added = jnp.sqrt(jnp.maximum(raised.sigma**2 - (ratio * node.sigma) ** 2, 0.0))
        return expand_right(ratio, x) * x + expand_right(self.s_noise * added, x) * z, raised
