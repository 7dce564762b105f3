"""The probability flow as a map between data and latents, one to one and without randomness.

    dx/dt = v(x, t) = alpha' x_0 + sigma' eps                                           (1)

(Song et al. 2021, eq. 13; Lipman et al. 2023, eq. 15), with (x_0, eps) as predicted at (x, t).
Forwards, from t_min to t_max, it encodes a data point as a latent; backwards it decodes one (Song
et al. 2021, section 4.3 and app. D.3). Latents are N(0, prior_std^2 I) as far as the model fits the
data; between two of them one goes along the sphere (Shoemake 1985),

    z(w) = [sin((1 - w) theta) z_a + sin(w theta) z_b] / sin theta,                      (2)

theta the angle between z_a and z_b.

`integrate` solves any equation of this kind, that of `likelihood` too. Each sample has its own step
sizes, so that nothing depends on its neighbours in the batch.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from parameterization import NO_COND, Cond, Predictor
from sde_lib import Process, expand_right

PyTree = Any
Field = Callable[[Float[Array, " b"], PyTree], PyTree]
ErrorNorm = Callable[[PyTree, PyTree, PyTree], Float[Array, " b"]]

TABLEAU = diffrax.Dopri5().tableau  # Dormand & Prince 1980, 5(4), first same as last
STAGES = TABLEAU.num_stages - 1
ORDER, SAFETY, SHRINK, GROW = 5, 0.9, 0.2, 10.0
# A step below this share of the time to go through is not told apart from none in float32.
SHORTEST = 1e-6


class Flowed(NamedTuple):
    """Where the flow took a batch.

    Attributes:
      x: the states at the end, (batch, *shape).
      evaluations: of the predictor, for each sample, int32 (batch,).
      ok: whether each sample reached the end within its steps, finite, bool (batch,).
    """

    x: Float[Array, "b *shape"]
    evaluations: Int[Array, " b"]
    ok: Array


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


class _Step(NamedTuple):
    y: PyTree
    slope: PyTree
    t: Array
    h: Array
    attempts: Array
    lost: Array
    halted: Array


def scaled_rms(
    error: Float[Array, "b *shape"], scale: Float[Array, "b *shape"]
) -> Float[Array, " b"]:
    """Root mean square of error / scale over the dimensions of each sample."""
    return jnp.sqrt(jnp.mean(((error / scale) ** 2).reshape(len(error), -1), axis=1))


def integrate(
    field: Field,
    y: PyTree,
    start: Array,
    end: Array,
    norm: ErrorNorm,
    max_steps: Array,
) -> Solved:
    """Solves dy/dt = field(t, y) from `start` to `end`, in either direction. Traceable.

    Dormand-Prince 5(4); a sample whose error is at most 1 takes its step, h <- h clip(0.9
    error^(-1/5), 0.2, 10) after it or a failure. The first h is that of Hairer et al. 1993, II.4.

    Args:
      field: from times (batch,) and a pytree like y to a pytree like y; samples independent.
      norm: `norm(error, y, y_next)` is the error in units of the tolerance, (batch,).
      max_steps: attempts after which a sample is left where it is.
    """
    batch = len(jax.tree.leaves(y)[0])
    span = jnp.abs(end - start)
    sign = jnp.sign(end - start)
    t = jnp.full(batch, start, jnp.float32)

    def going(step: _Step) -> Array:
        return (step.t != end) & (step.attempts < max_steps) & ~step.halted

    def attempt(step: _Step) -> _Step:
        active = going(step)
        left = jnp.abs(end - step.t)
        last = 1.001 * step.h >= left
        t_next = jnp.where(last, end, step.t + sign * step.h)
        t_next = jnp.where(active, t_next, step.t)
        y, slope, error = _dormand_prince(field, norm, step.y, step.slope, step.t, t_next)
        finite = jnp.isfinite(error)
        accept = active & finite & (error <= 1)
        factor = SAFETY * jnp.maximum(error, 1e-10) ** (-1 / ORDER)
        factor = jnp.where(finite, jnp.clip(factor, SHRINK, GROW), SHRINK)
        h = jnp.minimum(step.h, left) * factor
        short = active & ~accept & (h < SHORTEST * span)
        return _Step(
            y=_choose(accept, y, step.y),
            slope=_choose(accept, slope, step.slope),
            t=jnp.where(accept, t_next, step.t),
            h=jnp.where(active, h, step.h),
            attempts=step.attempts + active,
            lost=step.lost | (short & ~finite),
            halted=step.halted | short,
        )

    slope = field(t, y)
    none = jnp.zeros(batch, bool)
    first = _Step(
        y, slope, t, _first_step(field, norm, y, slope, t, span, sign), jnp.int32(0) + 0 * none,
        none, none,
    )  # fmt: skip
    done = jax.lax.while_loop(lambda step: jnp.any(going(step)), attempt, first)
    return Solved(done.y, done.t, 2 + STAGES * done.attempts, done.lost)


def _dormand_prince(
    field: Field, norm: ErrorNorm, y: PyTree, slope: PyTree, t: Array, t_next: Array
) -> tuple[PyTree, PyTree, Array]:
    """One step: the state and slope at t_next, and the error in units of the tolerance."""
    dt, slopes, y_next = t_next - t, [slope], y
    for weights, c in zip(TABLEAU.a_lower, TABLEAU.c, strict=True):
        y_next = _combine(y, dt, weights, slopes)
        slopes.append(field(jnp.where(c == 1, t_next, t + c * dt), y_next))
    zero = jax.tree.map(jnp.zeros_like, y)
    error = norm(_combine(zero, dt, TABLEAU.b_error, slopes), y, y_next)
    return y_next, slopes[-1], error


def _first_step(
    field: Field, norm: ErrorNorm, y: PyTree, slope: PyTree, t: Array, span: Array, sign: Array
) -> Array:
    """The length of the first step from the sizes of y, y' and y''; one evaluation."""
    size, speed = norm(y, y, y), norm(slope, y, y)
    short = jnp.where((size < 1e-5) | (speed < 1e-5), 1e-6 * span, 0.01 * size / speed)
    short = jnp.clip(short, SHORTEST * span, 0.01 * span)
    dt = sign * short
    there = field(t + dt, _combine(y, dt, [1.0], [slope]))
    change = jax.tree.map(lambda a, b: a - b, there, slope)
    fastest = jnp.maximum(speed, norm(change, y, y) / short)
    h = jnp.minimum(100 * short, (0.01 / jnp.maximum(fastest, 1e-15)) ** (1 / ORDER))
    return jnp.where(jnp.isfinite(h), jnp.clip(h, 10 * SHORTEST * span, span), 0.01 * span)


def _combine(y: PyTree, dt: Array, weights: Any, slopes: list[PyTree]) -> PyTree:
    """y + dt sum_i weights_i slopes_i."""
    used = [(float(w), k) for w, k in zip(weights, slopes, strict=True) if w]

    def leaf(y: Array, *slopes: Array) -> Array:
        total = sum((w * k for (w, _), k in zip(used, slopes, strict=True)), jnp.zeros_like(y))
        return y + expand_right(dt, y) * total

    return jax.tree.map(leaf, y, *(k for _, k in used))


def _choose(condition: Array, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(expand_right(condition, a), a, b), new, old)


def require_positive(**numbers: float) -> None:
    """ValueError naming the first that is not positive."""
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name}: got {number}, expected a positive number")


def span_of(process: Process, t_min: float | None, t_max: float | None) -> tuple[float, float]:
    """The ends of the flow, by default the process's; ValueError if they lie outside of it."""
    low = process.t_min if t_min is None else t_min
    high = process.t_max if t_max is None else t_max
    if not 0 <= low < high <= process.t_max:
        raise ValueError(
            f"t_min, t_max: got {low}, {high}, expected 0 <= t_min < t_max <= {process.t_max}"
        )
    return low, high


def report_failures(solved: Solved, end: float, throw: bool) -> None:
    """Warns of samples that did not get to `end`, naming them.

    Raises FloatingPointError for those that were lost, if `throw`.
    """
    t, lost = np.asarray(solved.t), np.asarray(solved.lost)
    late = ~lost & (t != np.float32(end))
    if throw and lost.any():
        raise FloatingPointError(
            f"not finite: {_named(lost, t)}; the network's output there, or no velocity at an end "
            "(t_min where sigma is 0, t_max where alpha is 0)"
        )
    for left, what in ((lost, "are not finite"), (late, "did not reach the end in max_steps")):
        if left.any():
            warnings.warn(f"samples that {what}: {_named(left, t)}", stacklevel=3)


def _named(which: np.ndarray, t: np.ndarray) -> str:
    numbers = np.flatnonzero(which)
    more = f" and {numbers.size - 8} more" if numbers.size > 8 else ""
    return ", ".join(f"sample {i} at t = {t[i]:.4g}" for i in numbers[:8]) + more


@functools.partial(jax.jit, static_argnames=("process",))
def _flow(
    process: Process,
    predict: Predictor,
    x: Array,
    cond: Cond,
    start: Array | float,
    end: Array | float,
    rtol: Array | float,
    atol: Array | float,
    max_steps: Array | int,
) -> Solved:
    def field(t: Array, x: Array) -> Array:
        return predict(x, process.node(t), cond).velocity(process)

    def norm(error: Array, x: Array, x_next: Array) -> Array:
        return scaled_rms(error, atol + rtol * jnp.maximum(jnp.abs(x), jnp.abs(x_next)))

    ends = jnp.float32(start), jnp.float32(end)
    return integrate(field, x, *ends, norm, jnp.int32(max_steps))


def encode(
    process: Process,
    predict: Predictor,
    x: Float[Array, "b *shape"],
    *,
    cond: Cond = NO_COND,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    t_min: float | None = None,
    t_max: float | None = None,
    max_steps: int = 4096,
    throw: bool = True,
) -> Flowed:
    """The latents of data: x carried by (1) from t_min to t_max.

    Args:
      x: data in the process's range, (batch, *shape).
      cond: conditioning with a leading batch axis.
      rtol, atol: tolerances of the root mean square over a sample's dimensions, of each step.
      t_min, t_max: ends of the flow, by default the process's. Where alpha(t_max) = 0, a predictor
        made of a noise or a score has no velocity, and t_max must lie before.
      max_steps: attempted steps after which a sample is left on its way, with a warning and ok =
        False.
      throw: whether a sample that is not finite is an error; if not, it is treated likewise.

    Raises:
      ValueError: tolerances or steps that are not positive, times outside of the process's.
      FloatingPointError: a sample is not finite; names it and the time at which that happened.
    """
    low, high = span_of(process, t_min, t_max)
    return _carry(process, predict, x, cond, (low, high), rtol, atol, max_steps, throw)


def decode(
    process: Process,
    predict: Predictor,
    z: Float[Array, "b *shape"],
    *,
    cond: Cond = NO_COND,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    t_min: float | None = None,
    t_max: float | None = None,
    max_steps: int = 4096,
    throw: bool = True,
) -> Flowed:
    """The data of latents: z carried by (1) from t_max back to t_min; the inverse of `encode`.

    The result keeps the noise of t_min; its Tweedie estimate is `predict(x, node, cond).x_0`.
    """
    low, high = span_of(process, t_min, t_max)
    return _carry(process, predict, z, cond, (high, low), rtol, atol, max_steps, throw)


def _carry(
    process: Process,
    predict: Predictor,
    x: Array,
    cond: Cond,
    ends: tuple[float, float],
    rtol: float,
    atol: float,
    max_steps: int,
    throw: bool,
) -> Flowed:
    require_positive(rtol=rtol, atol=atol, max_steps=max_steps)
    solved = _flow(process, predict, x, cond, *ends, rtol, atol, max_steps)
    report_failures(solved, ends[1], throw)
    return Flowed(solved.y, solved.evaluations, solved.t == jnp.float32(ends[1]))


def reconstruct(
    process: Process, predict: Predictor, x: Float[Array, "b *shape"], **options: Any
) -> Flowed:
    """decode(encode(x)): x again, up to the errors of two solves. `options` as of `encode`."""
    there = encode(process, predict, x, **options)
    back = decode(process, predict, there.x, **options)
    return Flowed(back.x, there.evaluations + back.evaluations, there.ok & back.ok)


def slerp(
    z_a: Float[Array, "b *shape"], z_b: Float[Array, "b *shape"], n: int
) -> Float[Array, "b n *shape"]:
    """n points of (2) from z_a (w = 0) to z_b (w = 1), evenly spaced; straight where they align."""
    if n < 2:
        raise ValueError(f"n: got {n}, expected at least 2, the ends")
    a, b = z_a.reshape(len(z_a), -1), z_b.reshape(len(z_b), -1)
    norms = jnp.linalg.norm(a, axis=1) * jnp.linalg.norm(b, axis=1)
    cosine = jnp.sum(a * b, axis=1) / jnp.where(norms > 0, norms, 1.0)
    theta = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))[:, None]
    w, sine = jnp.linspace(0.0, 1.0, n), jnp.sin(theta)
    straight = sine < 1e-4
    safe = jnp.where(straight, 1.0, sine)
    weight_a = jnp.where(straight, 1 - w, jnp.sin((1 - w) * theta) / safe)
    weight_b = jnp.where(straight, w, jnp.sin(w * theta) / safe)
    points = weight_a[..., None] * a[:, None] + weight_b[..., None] * b[:, None]
    return points.reshape(len(z_a), n, *z_a.shape[1:])


def interpolate(
    process: Process,
    predict: Predictor,
    x_a: Float[Array, "b *shape"],
    x_b: Float[Array, "b *shape"],
    n: int,
    *,
    cond: Cond = NO_COND,
    **options: Any,
) -> Float[Array, "b n *shape"]:
    """n data points on the way from each x_a to its x_b, both included, by (2) between latents.

    `cond` is that of both ends and of all between; `options` as of `encode`.
    """
    z_a, z_b = (encode(process, predict, x, cond=cond, **options).x for x in (x_a, x_b))
    z = slerp(z_a, z_b, n)
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, n, axis=0), dict(cond))
    flat = z.reshape(-1, *x_a.shape[1:])
    return decode(process, predict, flat, cond=repeated, **options).x.reshape(z.shape)
