"""The probability flow with fixed steps and with steps that each sample chooses for itself.

    dx/dt = v(x, t) = alpha' x_0 + sigma' eps                                           (1)

(Song et al. 2021, eq. 13; Lipman et al. 2023, eq. 15), with (x_0, eps) as predicted at (x, t). Time
runs from the prior down to the data, so steps are negative.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array

from options.choices import choose
from parameterization import Prediction
from sampling import RunContext
from sde_lib import Node, Process, expand_right
from solvers import runge_kutta
from solvers.adaptive import Adaptive, Attempt, StepController, scaled_norm
from solvers.fixed_step import Draw, FixedStep, StepResult


@dataclasses.dataclass(frozen=True)
class Euler(FixedStep):
    """Euler's method for the probability flow (1), x + v dt, of order 1. One stage.

    Ends at the clean node or before.
    """

    stages = 1

    def step(self, process, predict, x, node, node_next, state, draw: Draw) -> StepResult:
        dt = expand_right(node_next.t - node.t, x)
        found = predict(x, node)
        x = x + dt * found.velocity(process)
        return StepResult(x, x, state, aux=found.aux)


@dataclasses.dataclass(frozen=True)
class AdaptiveODE(Adaptive):
    """The probability flow (1) by an embedded Runge-Kutta pair, with error control for each sample.

    The last stage of a step is the first of the next, which a constraint spoils: then it is
    evaluated anew.

    Attributes:
      method: "bosh3" (order 3), "dopri5" (5; the choice of Song et al. 2021, app. D.4) or "tsit5"
        (5), see `runge_kutta.PAIRS`.
      rtol, atol: tolerances of each step, of the root mean square over a sample's dimensions.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    refresh_stages = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        choose(runge_kutta.PAIRS, self.method, "method")

    @property
    def _pair(self) -> runge_kutta.Pair:
        return runge_kutta.PAIRS[self.method]

    @property
    def controller(self) -> StepController:
        return dataclasses.replace(self._pair.controller, safety=self.safety)

    @property
    def stages(self) -> int:
        return self._pair.stages

    def refresh(self, process: Process, run: RunContext, x: Array, node: Node) -> Array:
        return run.predict_at(x, node).velocity(process)

    def attempt(self, process, run, x, node, node_next, memory) -> Attempt:
        predictions: list[Prediction] = []

        def field(t: Array, x: Array) -> Array:
            predictions.append(run.predict_at(x, process.node(t)))
            return predictions[-1].velocity(process)

        found = runge_kutta.step(self._pair, field, x, memory, node.t, node_next.t)
        x_next, slope, error = found
        scale = self.atol + self.rtol * jnp.maximum(abs(x), abs(x_next))
        norm = scaled_norm(error, scale, run.mask)
        return Attempt(x_next, x_next, norm, slope, predictions[-1].aux)
