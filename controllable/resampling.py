"""RePaint (Lugmayr et al. 2022, algorithm 1): each step is taken several times.

After a step from t to s and the constraint there, the sample is noised from s back to t, so that
the free part can adapt to the known one, and the step is taken again:

    x_t = r x_s + sqrt(b) z,   (r, b) of `sde_lib.transition`                           (1)
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from options.choices import MOST_STEPS, require_at_least_one
from options.classes import ask
from options.errors import InvalidValue
from sampling import CONSTRAINT_DRAW, NoiseSource, RunContext, SamplerState, at
from sde_lib import Node, Process, expand_right, transition
from solvers.fixed_step import FixedStep, is_fixed_step

# Draws of a repetition are numbered after all others of its step.
REPEAT_DRAW = CONSTRAINT_DRAW << 1
RETURN_DRAW = CONSTRAINT_DRAW + 1


@dataclasses.dataclass(frozen=True)
class _Shifted:
    """A noise source whose draws are numbered from `offset` on."""

    source: NoiseSource
    offset: int

    def validate(self, steps: int) -> None:
        self.source.validate(steps)

    def initial(self, shape: tuple[int, ...]) -> Array:
        return self.source.initial(shape)

    def __call__(self, step: Array, draw: int, shape: tuple[int, ...]) -> Array:
        return self.source(step, self.offset + draw, shape)

    def brownian(
        self, low: Array, high: Array, span: tuple[Array, Array], shape: tuple[int, ...]
    ) -> Array:
        return self.source.brownian(low, high, span, shape)


@dataclasses.dataclass(frozen=True)
class Resampled:
    """Any fixed-step solver, each step `repeats` times with (1) between. One is the solver itself.

    A multistep solver forgets what it remembered at each return, since x has changed.

    Attributes:
      solver: the solver of fixed steps.
      repeats: how often each step is taken.
    """

    solver: FixedStep
    repeats: int = 5

    def __post_init__(self) -> None:
        require_at_least_one(self, "repeats", most=MOST_STEPS)
        if not is_fixed_step(self.solver):
            name = type(self.solver).__name__
            needed = "resampling needs a solver of fixed steps"
            raise InvalidValue("repeats", but=f"{name} chooses its own steps; {needed}")

    def validate(self, process: Process, grid: Node) -> None:
        ask(self.solver, "validate", process, grid)

    def budget(self, steps: int) -> int:
        return self.solver.budget(steps)

    def begin(self, process: Process, run: RunContext, x: Array) -> Any:
        return self.solver.begin(process, run, x)

    def advance(
        self, process: Process, run: RunContext, state: SamplerState, i: Array
    ) -> SamplerState:
        batch, shape = state.x.shape[0], state.x.shape
        r, b = transition(*(at(run.grid, k, batch) for k in (i, i + 1)))
        for repeat in range(self.repeats):
            shifted = run._replace(noise=_Shifted(run.noise, repeat * REPEAT_DRAW))
            after = self.solver.advance(process, shifted, state, i)
            if repeat + 1 == self.repeats:
                break
            z = shifted.draw(i, RETURN_DRAW, shape)
            x = expand_right(r, z) * after.x + expand_right(jnp.sqrt(b), z) * z
            state = after._replace(x=x, t=state.t, accepted=state.accepted)
            state = state._replace(state=self.solver.begin(process, run, x))
        return after
