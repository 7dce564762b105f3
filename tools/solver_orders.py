"""Orders of convergence of all solvers, measured on Gaussian data without sampling noise.

On Gaussian data a step is affine in the state, in what a solver remembers and in its noise. Its
coefficients are read off the step itself, and mean and covariance are carried along, so the
distribution that a run ends with is known. The error is its Wasserstein-2 distance from the exact
one,

    W2^2 = (m - m*)^2 + (s - s*)^2,                                                     (1)

and the order is minus the slope of log error against log steps. Everything is in float64, since a
method of order 5 is soon at the end of float32.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from oracles import Gaussian
from parameterization import NO_COND
from sampling import RunContext, at
from sde_lib import EDM, VESDE, VPSDE, Node, Process
from solvers import DDIM, AdaptiveODE, AdaptiveSDE, DPMSolverPP, Euler, Heun, StochasticHeun
from solvers.adaptive import Adaptive
from solvers.grids import uniform_grid
from solvers.predictor_corrector import (
    Ancestral,
    EulerMaruyama,
    NoCorrector,
    PredictorCorrector,
    ReverseDiffusion,
)
from tools import markdown

MEAN, STD = 0.4, 0.5
# Processes with the time at which runs end, short of where uniform steps in time are too long.
PROCESSES: dict[str, tuple[Process, float]] = {
    "VP": (VPSDE(), 0.3),
    "VE": (VESDE(0.05, 5.0), 0.3),
    "EDM": (EDM(t_max=5.0), 0.5),
}
LOW, HIGH = (40, 80, 160, 320), (40, 60, 80)
NOISES = 3  # draws of a step that are looked at


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of the table. make: the solver for a number of steps. steps: numbers of steps."""

    title: str
    claimed: str
    make: Callable[[int], Any]
    steps: Sequence[int] = LOW


ENTRIES = (
    Entry("Euler", "1", lambda n: Euler()),
    Entry("Heun", "2", lambda n: Heun()),
    Entry("DDIM", "1", lambda n: DDIM()),
    Entry("DPM-Solver++ 1", "1", lambda n: DPMSolverPP(1)),
    Entry("DPM-Solver++ 2M", "2", lambda n: DPMSolverPP(2)),
    Entry("Bogacki-Shampine, equal steps", "3", lambda n: AdaptiveODE("bosh3"), HIGH),
    Entry("Dormand-Prince, equal steps", "5", lambda n: AdaptiveODE("dopri5"), HIGH),
    Entry("Tsitouras, equal steps", "5", lambda n: AdaptiveODE("tsit5"), HIGH),
    Entry("DDIM, eta 1", "weak 1", lambda n: DDIM(1.0)),
    Entry("SDE-DPM-Solver++ 1", "weak 1", lambda n: DPMSolverPP(1, noise=True)),
    Entry("SDE-DPM-Solver++ 2M", "weak 2", lambda n: DPMSolverPP(2, noise=True)),
    Entry("ancestral, small", "weak 1", lambda n: _predict(Ancestral())),
    Entry("ancestral, large", "weak 1", lambda n: _predict(Ancestral("large"))),
    Entry("Euler-Maruyama", "weak 1", lambda n: _predict(EulerMaruyama())),
    Entry("reverse diffusion", "weak 1", lambda n: _predict(ReverseDiffusion())),
    Entry("Heun with churn 2", "weak 2", lambda n: StochasticHeun(n, churn=2.0)),
    Entry("adaptive SDE, equal steps", "weak 2", lambda n: AdaptiveSDE()),
)


def _predict(predictor: Any) -> PredictorCorrector:
    return PredictorCorrector(predictor, NoCorrector())


@dataclasses.dataclass(frozen=True, eq=False)
class _Increment:
    """A source of noise whose Brownian increment is a standard normal z (batch, 1), scaled."""

    z: Array

    def validate(self, steps: int) -> None:
        pass

    def initial(self, shape: tuple[int, ...]) -> Array:
        return self.z

    def __call__(self, step: Array, draw: int, shape: tuple[int, ...]) -> Array:
        return self.z

    def brownian(self, low: Array, high: Array, span: Any, shape: tuple[int, ...]) -> Array:
        return jnp.sqrt(high - low)[:, None] * self.z


def final_error(process: Process, solver: Any, steps: int, t_end: float) -> float:
    """(1) at the end of `steps` steps, uniform in time, from the exact distribution at t_max."""
    data = Gaussian(jnp.full(1, MEAN), jnp.full(1, STD))
    grid = uniform_grid(process, steps, t_end=t_end)
    # Inputs of a step: x, what is remembered, the draws; and a row for the constant.
    size = 2 + NOISES

    @jax.jit
    def one(node: Node, node_next: Node, memory: Any) -> tuple[Array, Any]:
        basis = jnp.concatenate([jnp.zeros((1, size)), jnp.eye(size)])[..., None]
        x, before, draws = basis[:, 0], basis[:, 1], basis[:, 2:]
        if isinstance(solver, Adaptive):
            run = RunContext(data, None, grid, _Increment(draws[:, 0]), NO_COND, jnp.zeros(0))
            slope = solver.refresh(process, run, x, node)
            found = solver.attempt(process, run, x, node, node_next, slope)
            return jnp.stack([found.x, found.x]), memory
        state = solver.init(x)
        if state is not None:
            state = state._replace(x_0=before, h=memory)
        step = solver.step(process, data, x, node, node_next, state, lambda k: draws[:, k])
        after, memory = (step.x, memory) if state is None else (step.state.x_0, step.state.h)
        return jnp.stack([step.x, after]), memory

    start = Node(*(field[:1] for field in grid))
    at_start = data.marginal(start, jnp.zeros((1, 1)))
    mean = np.array([float(at_start[0].reshape(())), 0.0])
    covariance = np.diag([float(at_start[1].reshape(())), 0.0])
    memory = jnp.full(1 + size, jnp.inf)
    for i in range(steps):
        columns, memory = one(at(grid, i, 1 + size), at(grid, i + 1, 1 + size), memory)
        rows = np.asarray(columns, np.float64)[..., 0]
        constant, a = rows[:, 0], rows[:, 1:] - rows[:, :1]
        mean = constant + a[:, :2] @ mean
        covariance = a[:, :2] @ covariance @ a[:, :2].T + a[:, 2:] @ a[:, 2:].T
    exact_mean, exact_variance = (
        float(v.reshape(())) for v in data.marginal(at(grid, steps, 1), jnp.zeros((1, 1)))
    )
    gap = math.sqrt(covariance[0, 0]) - math.sqrt(exact_variance)
    return math.hypot(mean[0] - exact_mean, gap)


def order(steps: Sequence[int], errors: Sequence[float]) -> float:
    """Minus the slope of log error against log steps."""
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


def measured(entry: Entry) -> Mapping[str, float]:
    """The order on each process."""
    with jax.enable_x64(True):
        return {
            name: order(
                entry.steps,
                [final_error(process, entry.make(n), n, t_end) for n in entry.steps],
            )
            for name, (process, t_end) in PROCESSES.items()
        }


def table() -> str:
    """Claimed and measured orders in Markdown."""
    from options.progress import progress_bar

    rows = []
    for entry in progress_bar(ENTRIES, "orders", unit="solver"):
        rows.append(
            [entry.title, entry.claimed, *(f"{slope:.2f}" for slope in measured(entry).values())]
        )
    return markdown.table(["solver", "claimed", *PROCESSES], rows)
