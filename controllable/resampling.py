"""RePaint (Lugmayr et al. 2022, algorithm 1): each step is taken several times.

After a step from t to s and the constraint there, the sample is noised from s back to t, so that
the free part can adapt to the known one, and the step is taken again:

    x_t = r x_s + sqrt(b) z,   (r, b) of `sde_lib.transition`                           (1)
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array

from sampling import CONSTRAINT_DRAW, FixedSteps, March, NoiseSource, Run, Solver, at
from sde_lib import Process, expand_right, transition

# Draws of a repetition come after all others of its step.
REPEAT_DRAW = CONSTRAINT_DRAW << 1
RETURN_DRAW = CONSTRAINT_DRAW + 1


@dataclasses.dataclass(frozen=True)
class _Shifted:
    """A noise source whose draws are numbered from `offset` on."""

    source: NoiseSource
    offset: int

    def initial(self, shape: tuple[int, ...]) -> Array:
        return self.source.initial(shape)

    def __call__(self, step: Array, draw: int, shape: tuple[int, ...]) -> Array:
        return self.source(step, self.offset + draw, shape)

    def brownian(
        self, low: Array, high: Array, span: tuple[Array, Array], shape: tuple[int, ...]
    ) -> Array:
        return self.source.brownian(low, high, span, shape)


@dataclasses.dataclass(frozen=True)
class Resampled(FixedSteps):
    """Any fixed-step solver, each step `repeats` times with (1) between. One is the solver itself.

    A multistep solver forgets what it remembered at each return, since x has changed.
    """

    repeats: int = 5

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats: got {self.repeats}, expected at least 1")
        if not isinstance(self.solver, Solver):
            raise ValueError(
                f"repeats: {type(self.solver).__name__} sets its own pace; resampling needs a "
                "solver of fixed steps"
            )

    def advance(self, process: Process, run: Run, march: March, i: Array) -> March:
        batch, shape = march.x.shape[0], march.x.shape
        r, b = transition(*(at(run.grid, k, batch) for k in (i, i + 1)))
        for repeat in range(self.repeats):
            noise = _Shifted(run.noise, repeat * REPEAT_DRAW)
            after = super().advance(process, run._replace(noise=noise), march, i)
            if repeat + 1 == self.repeats:
                break
            z = noise(i, RETURN_DRAW, shape)
            x = expand_right(r, z) * after.x + expand_right(jnp.sqrt(b), z) * z
            march = after._replace(x=x, t=march.t, accepted=march.accepted)
            march = march._replace(state=self.solver.init(x))
        return after
