"""Heun's method on the probability flow, plain and with churn (Karras et al. 2022).

For a process with sigma = t and alpha = 1 these are their algorithms 1 and 2; velocity, noise and
levels are written so that they hold for any process.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sampling import Draw, StepResult
from sde_lib import Node, Process, expand_right
from solvers.predictor_corrector import Predict


@dataclasses.dataclass(frozen=True)
class Heun:
    """The trapezoidal rule after an Euler step: order 2, two stages (Karras et al. 2022, alg. 1).

    A step to the clean node, where there is no velocity, is Euler's alone, of one evaluation.
    """

    stages = 2

    def validate(self, process: Process, grid: Node) -> None:
        pass

    def init(self, x: Array) -> None:
        return None

    def step(self, process, predict, x, node, node_next, state, draw: Draw) -> StepResult:
        x, evaluations = heun_step(process, predict, x, node, node_next)
        return StepResult(x, x, state, evaluations)


def heun_step(
    process: Process, predict: Predict, x: Array, node: Node, node_next: Node
) -> tuple[Array, Array]:
    """(x at node_next, evaluations (batch,))."""
    dt = expand_right(node_next.t - node.t, x)
    slope = predict(x, node).velocity(process)
    euler = x + dt * slope
    clean = node_next.sigma == 0
    # Where some samples of the batch are at the clean node, theirs is evaluated elsewhere.
    safe = Node(*(jnp.where(clean, old, new) for old, new in zip(node, node_next, strict=True)))

    def correct() -> Array:
        return x + dt * (slope + predict(euler, safe).velocity(process)) / 2

    x_next = jax.lax.cond(jnp.all(clean), lambda: euler, correct)
    x_next = jnp.where(expand_right(clean, x), euler, x_next)
    return x_next, jnp.where(jnp.all(clean), 1, jnp.full(len(x), 2))


@dataclasses.dataclass(frozen=True)
class StochasticHeun:
    """Heun's step after noise was added: churn (Karras et al. 2022, alg. 2). Two stages.

    The level s = sigma / alpha is first raised to (1 + gamma) s with gamma = min(churn / N,
    sqrt(2) - 1) for N steps, where s lies in [s_min, s_max]. With churn 0 it is Heun's, of order 2.
    Raising the level takes one marginal exactly to the other, so with churn the error of the law is
    that of Heun's steps: weak order 2.

    num_steps: N. s_noise: factor of the noise's standard deviation, against lost detail.
    """

    num_steps: int
    churn: float = 40.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    stages = 2

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps: got {self.num_steps}, expected at least 1")
        for name in ("churn", "s_min", "s_max", "s_noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 0 or more")

    def validate(self, process: Process, grid: Node) -> None:
        if grid.t.size - 1 != self.num_steps:
            raise ValueError(
                f"num_steps: got {self.num_steps}, but the grid has {grid.t.size - 1} steps"
            )

    def init(self, x: Array) -> None:
        return None

    def step(self, process, predict, x, node, node_next, state, draw: Draw) -> StepResult:
        x, node = self._churned(process, x, node, draw(0))
        x, evaluations = heun_step(process, predict, x, node, node_next)
        return StepResult(x, x, state, evaluations)

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
