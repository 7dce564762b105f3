"""Embedded Runge-Kutta pairs on a batch of ordinary equations, with steps per sample.

    dy/dt = F(t, y),      k_1 = F(t, y),   k_i = F(t + c_i h, y + h sum_j a_ij k_j)     (1)
    y' = y + h sum_j b_j k_j,   error = h sum_j e_j k_j                                 (2)

All pairs here are "first same as last": the last stage is F at the new state, so it is the first of
the next step. The coefficients are diffrax's. This is the one adaptive integrator of the project:
solver "ode", likelihood and latent codes all step by `step`, with the controller of
`solvers.adaptive`.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from options.progress import Pace, Progress
from sampling import select
from sde_lib import expand_right
from solvers.adaptive import SHORTEST, StepController

PyTree = Any
Field = Callable[[Float[Array, " b"], PyTree], PyTree]
ErrorNorm = Callable[[PyTree, PyTree, PyTree], Float[Array, " b"]]
PARTS = 1000  # of the time between the ends, in which progress is counted


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """An embedded pair: the order that controls its steps, and the numbers of (1) and (2)."""

    order: int
    tableau: Any

    @property
    def stages(self) -> int:
        """Evaluations of one step, its first being the last of the step before."""
        return self.tableau.num_stages - 1

    @property
    def controller(self) -> StepController:
        # Growth by 10 at most, as in scipy's RK45 and the original: the errors of these pairs are
        # smooth, where those along a Brownian path are not.
        return StepController(self.order, grow=10.0)


PAIRS = {
    "bosh3": Pair(3, diffrax.Bosh3().tableau),  # Bogacki & Shampine 1989, 3(2), 3 evaluations
    "dopri5": Pair(5, diffrax.Dopri5().tableau),  # Dormand & Prince 1980, 5(4), 6 evaluations
    "tsit5": Pair(5, diffrax.Tsit5().tableau),  # Tsitouras 2011, 5(4), 6 evaluations
}


def step(
    pair: Pair, field: Field, y: PyTree, slope: PyTree, t: Float[Array, " b"], t_next: Array
) -> tuple[PyTree, PyTree, PyTree]:
    """One step from t to t_next (batch,): the state, the slope there, and the error (2).

    slope: F(t, y). Every evaluation counts one of `pair.stages`.
    """
    dt, slopes, y_next = t_next - t, [slope], y
    for weights, c in zip(pair.tableau.a_lower, pair.tableau.c, strict=True):
        y_next = _combine(y, dt, weights, slopes)
        slopes.append(field(jnp.where(c == 1, t_next, t + c * dt), y_next))
    zero = jax.tree.map(jnp.zeros_like, y)
    return y_next, slopes[-1], _combine(zero, dt, pair.tableau.b_error, slopes)


def _combine(y: PyTree, dt: Array, weights: Any, slopes: list[PyTree]) -> PyTree:
    """y + dt sum_i weights_i slopes_i."""
    used = [(float(w), k) for w, k in zip(weights, slopes, strict=True) if w]

    def leaf(y: Array, *slopes: Array) -> Array:
        total = sum((w * k for (w, _), k in zip(used, slopes, strict=True)), jnp.zeros_like(y))
        return y + expand_right(dt, y) * total

    return jax.tree.map(leaf, y, *(k for _, k in used))


class Solved(NamedTuple):
    """The result of `integrate`: a pytree, every leaf with a leading batch axis.

    Attributes:
      y: the states reached.
      t: the times reached, (batch,); the end, where all went well.
      evaluations: of the field, int32 (batch,).
      lost: whether the field was not finite just after t, bool (batch,).
    """

    y: PyTree
    t: Float[Array, " b"]
    evaluations: Int[Array, " b"]
    lost: Array


class Underway(NamedTuple):
    """An integration between `begin` and its end: a pytree with leading batch axes.

    Attributes:
      y, t: the states and times reached. slope: of the field there.
      h: lengths of the next steps. attempts: steps so far, rejected ones among them.
      lost, halted: where the field is not finite, or no step is short enough.
    """

    y: PyTree
    slope: PyTree
    t: Array
    h: Array
    attempts: Array
    lost: Array
    halted: Array

    def going(self, end: Array, max_steps: Array | int) -> Array:
        """Which samples are still on their way, bool (batch,)."""
        return (self.t != end) & (self.attempts < max_steps) & ~self.halted

    def solved(self, method: str = "dopri5") -> Solved:
        """As a result."""
        return Solved(self.y, self.t, 2 + PAIRS[method].stages * self.attempts, self.lost)


def integrate(
    field: Field,
    y: PyTree,
    ends: tuple[Array, Array],
    norm: ErrorNorm,
    max_steps: Array,
    method: str = "dopri5",
) -> Solved:
    """Solves dy/dt = field(t, y) between the two `ends`, in either direction. Traceable.

    The first step is that of Hairer et al. 1993, section II.4; it costs two evaluations.

    Args:
      field: from times (batch,) and a pytree like y to a pytree like y; samples independent.
      norm: `norm(error, y, y_next)` is the error in units of the tolerance, (batch,).
      max_steps: attempts after which a sample is left where it is.
      method: one of `PAIRS`.
    """
    first = begin(field, y, ends, norm, method)
    return advance(field, first, ends, norm, max_steps, method).solved(method)


def begin(
    field: Field, y: PyTree, ends: tuple[Array, Array], norm: ErrorNorm, method: str = "dopri5"
) -> Underway:
    """An integration before its first step; arguments as of `integrate`."""
    batch = len(jax.tree.leaves(y)[0])
    t = jnp.full(batch, ends[0], jnp.float32)
    slope = field(t, y)
    h = _first_step(field, norm, y, slope, ends, PAIRS[method].order)
    none = jnp.zeros(batch, bool)
    return Underway(y, slope, t, h, jnp.int32(0) + 0 * none, none, none)


def advance(
    field: Field,
    now: Underway,
    ends: tuple[Array, Array],
    norm: ErrorNorm,
    max_steps: Array,
    method: str = "dopri5",
) -> Underway:
    """The integration after as many as `max_steps` attempts, those before `now` among them.

    Cut at whatever attempts, it takes the same steps.
    """
    pair, (start, end) = PAIRS[method], ends
    span = jnp.abs(end - start)

    def attempt(now: Underway) -> Underway:
        active = now.going(end, max_steps)
        t_next = jnp.where(active, pair.controller.target(now.t, now.h, end)[0], now.t)
        y, slope, error = step(pair, field, now.y, now.slope, now.t, t_next)
        verdict = pair.controller.judge(norm(error, now.y, y), now.h, jnp.abs(end - now.t), span)
        accept, stuck = active & verdict.accept, active & verdict.stuck
        return Underway(
            y=select(accept, y, now.y),
            slope=select(accept, slope, now.slope),
            t=jnp.where(accept, t_next, now.t),
            h=jnp.where(active, verdict.h, now.h),
            attempts=now.attempts + active,
            lost=now.lost | (stuck & ~verdict.finite),
            halted=now.halted | stuck,
        )

    return jax.lax.while_loop(lambda now: jnp.any(now.going(end, max_steps)), attempt, now)


def advance_in_parts(
    advance: Callable[[Underway, int], Underway],
    now: Underway,
    ends: tuple[Array, Array],
    max_steps: int,
    progress: Progress | None,
) -> Underway:
    """The integration at its end, from a compiled `advance(now, max_steps)`.

    progress: called as progress(done, PARTS) about once a second, of the time between the ends that
      the slowest sample has behind it, first with 0 when the program is compiled; None: all steps
      are one dispatch.
    """
    if progress is None:
        return advance(now, max_steps)
    start, end = (float(t) for t in ends)
    now, stop, pace = advance(now, 0), 0, Pace()
    progress(0, PARTS)
    while stop < max_steps:
        began, stop = time.perf_counter(), min(stop + pace.rounds, max_steps)
        now = advance(now, stop)
        going = np.asarray(now.going(ends[1], max_steps))
        pace.took(time.perf_counter() - began)
        if not going.any():
            break
        reached = np.abs(np.asarray(now.t)[going] - start).min() / abs(end - start)
        progress(int(PARTS * reached), PARTS)
    progress(PARTS, PARTS)
    return now


def _first_step(
    field: Field, norm: ErrorNorm, y: PyTree, slope: PyTree, ends: tuple[Array, Array], order: int
) -> Array:
    """The length of the first step from the sizes of y, y' and y''; one evaluation."""
    start, end = ends
    span, sign = jnp.abs(end - start), jnp.sign(end - start)
    size, speed = norm(y, y, y), norm(slope, y, y)
    short = jnp.where((size < 1e-5) | (speed < 1e-5), 1e-6 * span, 0.01 * size / speed)
    short = jnp.clip(short, SHORTEST * span, 0.01 * span)
    dt = sign * short
    there = field(start + dt, _combine(y, dt, [1.0], [slope]))
    change = jax.tree.map(lambda a, b: a - b, there, slope)
    fastest = jnp.maximum(speed, norm(change, y, y) / short)
    h = jnp.minimum(100 * short, (0.01 / jnp.maximum(fastest, 1e-15)) ** (1 / order))
    return jnp.where(jnp.isfinite(h), jnp.clip(h, 10 * SHORTEST * span, span), 0.01 * span)
