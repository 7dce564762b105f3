"""The probability flow with fixed steps and with steps that each sample chooses for itself.

    dx/dt = v(x, t) = alpha' x_0 + sigma' eps                                           (1)

(Song et al. 2021, eq. 13; Lipman et al. 2023, eq. 15), with (x_0, eps) as predicted at (x, t). Time
runs from the prior down to the data, so steps are negative.
"""

import dataclasses
import functools
import operator
from typing import Any

import diffrax
import jax.numpy as jnp
from jaxtyping import Array

from sampling import Draw, Run, StepResult
from sde_lib import Node, Process, expand_right
from solvers.adaptive import Adaptive, Attempt, scaled_norm


@dataclasses.dataclass(frozen=True)
class Euler:
    """x + v dt: Euler's method for (1), of order 1. One stage. Ends at the clean node or before."""

    stages = 1

    def validate(self, process: Process, grid: Node) -> None:
        pass

    def init(self, x: Array) -> None:
        return None

    def step(self, process, predict, x, node, node_next, state, draw: Draw) -> StepResult:
        dt = expand_right(node_next.t - node.t, x)
        x = x + dt * predict(x, node).velocity(process)
        return StepResult(x, x, state)


METHODS: dict[str, Any] = {
    "bosh3": diffrax.Bosh3(),  # Bogacki-Shampine 3(2), 3 evaluations a step
    "dopri5": diffrax.Dopri5(),  # Dormand-Prince 5(4), 6 evaluations a step
    "tsit5": diffrax.Tsit5(),  # Tsitouras 5(4), 6 evaluations a step
}


@dataclasses.dataclass(frozen=True)
class AdaptiveODE(Adaptive):
    """An embedded Runge-Kutta pair of diffrax on (1), with error control for each sample.

    The tolerance is that of the root mean square over a sample's dimensions. The last stage of a
    step is the first of the next, which a constraint spoils: then it is evaluated anew.

    method: "bosh3" (order 3), "dopri5" (5; the choice of Song et al. 2021, app. D.4), "tsit5" (5).
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise ValueError(f"method: got {self.method!r}, expected one of {sorted(METHODS)}")

    @property
    def _tableau(self) -> Any:
        return METHODS[self.method].tableau

    @property
    def order(self) -> int:
        """The power of the step with which the error estimate shrinks."""
        return METHODS[self.method].order(None)

    @property
    def stages(self) -> int:
        return self._tableau.num_stages - 1

    refresh_stages = 1

    def refresh(self, process: Process, run: Run, x: Array, node: Node) -> Array:
        return run.predict_at(x, node).velocity(process)

    def attempt(self, process, run, x, node, node_next, memory, span) -> Attempt:
        tableau = self._tableau
        dt = expand_right(node_next.t - node.t, x)
        slopes = [memory]
        for weights, c in zip(tableau.a_lower, tableau.c, strict=True):
            stage_x = x + dt * _weighted(weights, slopes)
            stage_node = process.node(node.t + c * (node_next.t - node.t))
            slopes.append(run.predict_at(stage_x, stage_node).velocity(process))
        # First same as last: the last stage is the solution.
        error = dt * _weighted(tableau.b_error, slopes)
        norm = scaled_norm(error, self.atol + self.rtol * jnp.maximum(abs(x), abs(stage_x)))
        return Attempt(stage_x, stage_x, norm, slopes[-1])


def _weighted(weights: Any, slopes: list[Array]) -> Array:
    terms = [float(w) * k for w, k in zip(weights, slopes, strict=True) if w]
    return functools.reduce(operator.add, terms)
