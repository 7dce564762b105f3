"""The probability flow as a map between data and latents, one to one and without randomness.

    dx/dt = v(x, t) = alpha' x_0 + sigma' eps                                           (1)

(Song et al. 2021, eq. 13; Lipman et al. 2023, eq. 15), with (x_0, eps) as predicted at (x, t).
Forwards, from t_min to t_max, it encodes a data point as a latent; backwards it decodes one (Song
et al. 2021, section 4.3 and app. D.3). Latents are N(0, prior_std^2 I) as far as the model fits the
data; between two of them one goes along the sphere (Shoemake 1985),

    z(w) = [sin((1 - w) theta) z_a + sin(w theta) z_b] / sin theta,                      (2)

theta the angle between z_a and z_b.

Solved by Dormand-Prince 5(4) of `solvers.runge_kutta`. Each sample has its own step sizes, so that
nothing depends on its neighbours in the batch.
"""

import dataclasses
import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from options.choices import require, require_positive
from options.errors import NotFinite
from parameterization import MASK, NO_COND, Cond, Predictor, as_predictor
from sampling import named_at
from sde_lib import Process, masked
from solvers.adaptive import scaled_norm
from solvers.runge_kutta import Solved, integrate


@dataclasses.dataclass(frozen=True)
class FlowOptions:
    """How the flow is solved.

    Attributes:
      rtol, atol: tolerances of each step, of the root mean square over a sample's dimensions.
      t_min, t_max: ends of the flow, None for the process's. Where alpha(t_max) = 0, a predictor
        made of a noise or a score has no velocity, and t_max must lie before.
      max_steps: attempted steps after which a sample is left on its way, with a warning and ok =
        False.
      throw: whether a sample that is not finite is an error; if not, it is treated likewise.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    t_min: float | None = None
    t_max: float | None = None
    max_steps: int = 4096
    throw: bool = True

    def __post_init__(self) -> None:
        require_positive(self, "rtol", "atol", "max_steps")

    def forwards(self, process: Process) -> "FlowProblem":
        """From t_min to t_max; InvalidValue for times outside of the process's."""
        low, high = process.span(self.t_min, self.t_max)
        ends = jnp.float32(low), jnp.float32(high)
        return FlowProblem(*ends, self.rtol, self.atol, jnp.int32(self.max_steps))


class FlowProblem(NamedTuple):
    """The numbers of a solve, as arguments of a compiled program: from time `start` to `end`."""

    start: Array
    end: Array
    rtol: Array | float
    atol: Array | float
    max_steps: Array

    @property
    def backwards(self) -> "FlowProblem":
        """The same from the end to the start."""
        return self._replace(start=self.end, end=self.start)

    def scale(self, y: Array, y_next: Array) -> Array:
        """What an error of y counts in, atol + rtol max(|y|, |y_next|)."""
        return self.atol + self.rtol * jnp.maximum(jnp.abs(y), jnp.abs(y_next))


class Flowed(NamedTuple):
    """Where the flow took a batch.

    Attributes:
      x: the states at the end, (batch, *shape); 0 in the padding.
      evaluations: of the predictor, for each sample, int32 (batch,).
      ok: whether each sample reached the end within its steps, finite, bool (batch,).
    """

    x: Float[Array, "b *shape"]
    evaluations: Int[Array, " b"]
    ok: Array


def report_failures(solved: Solved, end: Array, throw: bool) -> None:
    """Warns of samples that did not get to `end`, naming them.

    Raises NotFinite for those that were lost, if `throw`.
    """
    t, lost = np.asarray(solved.t), np.asarray(solved.lost)
    late = ~lost & (t != np.asarray(end))
    if throw and lost.any():
        samples = named_at(np.flatnonzero(lost), t[lost])
        cause = (
            "the network's output there, or no velocity at an end (t_min where sigma is 0, t_max "
            "where alpha is 0)"
        )
        raise NotFinite("x", but=f"not finite: {samples}; {cause}")
    for left, what in ((lost, "are not finite"), (late, "did not reach the end in max_steps")):
        if left.any():
            samples = named_at(np.flatnonzero(left), t[left])
            warnings.warn(f"samples that {what}: {samples}", stacklevel=3)


@functools.partial(jax.jit, static_argnames=("process",))
def _flow(
    process: Process,
    predict: Predictor,
    x: Array,
    cond: Cond,
    problem: FlowProblem,
) -> Solved:
    mask = cond.get(MASK)

    def field(t: Array, x: Array) -> Array:
        return masked(predict(x, process.node(t), cond).velocity(process), mask)

    def norm(error: Array, x: Array, x_next: Array) -> Array:
        return scaled_norm(error, problem.scale(x, x_next), mask)

    ends = problem.start, problem.end
    return integrate(field, masked(x, mask), ends, norm, problem.max_steps)


def encode(
    process: Process,
    predict: Predictor,
    x: Float[Array, "b *shape"],
    *,
    cond: Cond = NO_COND,
    **options: Any,
) -> Flowed:
    """The latents of data: x carried by (1) from t_min to t_max.

    Args:
      x: data in the process's range, (batch, *shape).
      cond: conditioning with a leading batch axis, a padding mask among it.
      options: the fields of `FlowOptions`.

    Raises:
      InvalidValue: tolerances or steps that are not positive, times outside of the process's.
      NotFinite: a sample is not finite; names it and the time at which that happened.
    """
    how = FlowOptions(**options)
    return _carry(process, predict, x, cond, how.forwards(process), how.throw)


def decode(
    process: Process,
    predict: Predictor,
    z: Float[Array, "b *shape"],
    *,
    cond: Cond = NO_COND,
    **options: Any,
) -> Flowed:
    """The data of latents: z carried by (1) from t_max back to t_min; the inverse of `encode`.

    The result keeps the noise of t_min; its Tweedie estimate is `predict(x, node, cond).x_0`.
    """
    how = FlowOptions(**options)
    return _carry(process, predict, z, cond, how.forwards(process).backwards, how.throw)


def _carry(
    process: Process,
    predict: Predictor,
    x: Array,
    cond: Cond,
    problem: FlowProblem,
    throw: bool,
) -> Flowed:
    solved = _flow(process, as_predictor(predict), x, cond, problem)
    report_failures(solved, problem.end, throw)
    return Flowed(solved.y, solved.evaluations, solved.t == problem.end)


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
    require(n >= 2, "n", n, "at least 2, the ends")
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
