"""Log-likelihood by the probability flow (Song et al. 2021, section 4.3 and app. D).

The flow dx/dt = v(x, t) carries data to the prior, and along it (Chen et al. 2018, eq. 8)

    log p(x) = log prior(x_T) + int_{t_min}^{t_max} div v(x_t, t) dt                    (1)

The divergence is estimated with probes e, E[e e^T] = I (Hutchinson 1990; Grathwohl et al. 2019):

    div v = E[e^T (dv/dx) e]                                                           (2)

Drift and (2) come from one linearised pass, with a vector-Jacobian product in x alone: about two
forwards. Each sample has its own step sizes, so its value does not depend on its neighbours.

What (1) is the density of: the flow is cut off at t_min, since a process may be singular at 0, so
the value is log p of alpha(t_min) x_0 + sigma(t_min) eps, evaluated at x, and its difference from
log p of x_0 is of the order of (sigma(t_min) / s)^2 a dimension, s the finest scale of the data. It
is no random error and not part of `error`. Likewise log prior stands for the model's own density at
t_max: that is what makes (1) the density of what the flow samples.

8-bit data have probabilities P(k), not densities. With y = k + u and draws u_j from q on [0, 1)^D,

    E log (1/K) sum_j p(k + u_j) / q(u_j) <= log P(k),                                  (3)

which is uniform dequantisation for K = 1 and q = 1 (Theis et al. 2016, eq. 7) and tighter for
larger K (Ho et al. 2019, eq. 8; Burda et al. 2016, theorem 1). (3) is convex in the noise of (2),
which would lift it above the bound. So it is taken in the form that is linear in log p (Donsker &
Varadhan; w any weights of sum 1, best in proportion to p / q),

    log (1/K) sum_j exp(a_j) >= sum_j w_j (a_j - log(K w_j)),                           (4)

w from one half of the probes and a = log p - log q from the other: below log P(k) on average,
whatever the probes' noise.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from options.brief import brief
from options.choices import choose, require
from options.errors import InvalidValue
from options.progress import Progress
from parameterization import MASK, NO_COND, Cond, Predictor, as_predictor
from sde_lib import Process, dimensions, example_mean, example_sum, masked
from solvers.adaptive import scaled_norm
from solvers.probability_flow import FlowOptions, FlowProblem, report_failures
from solvers.runge_kutta import Solved, Underway, advance, advance_in_parts, begin


def _unit_vectors(key: Array, num: int, shape: tuple[int, ...]) -> Array:
    dim = math.prod(shape)
    return jnp.eye(dim).reshape(dim, *shape)


# Fraction of the tolerance of x that a step may be off in log p, per dimension; with 1, log p would
# be left to what x happens to need. Largest error in bits/dim, and evaluations, at the default
# tolerance on two random networks whose float64 solves are known (2 images each):
#
#     fraction   VE                 VP
#     1          1.8e-4, 140-152    4e-4 to 1.6e-3, 494-500
#     0.1        3.5e-5, 176-194    1.6e-3, 554-686
#
# where the original has 2.3e-5 at 164 and 2.2e-3 at 608, with one step size for a batch. That of VP
# varies between compilations as much as between fractions; at rtol = atol = 1e-6 (fraction 1) it
# is 1.8e-4 at 1058 evaluations.
LOG_P_FRACTION = 0.1

# Probes (num, *shape) of one sample, from (key, num, shape).
PROBES: dict[str, Callable[[Array, int, tuple[int, ...]], Array]] = {
    "rademacher": lambda key, num, shape: jax.random.rademacher(key, (num, *shape), jnp.float32),
    "gaussian": lambda key, num, shape: jax.random.normal(key, (num, *shape)),
    "exact": _unit_vectors,
}


class LogLikelihood(NamedTuple):
    """The result of `log_likelihood`; every field has a leading batch axis.

    Attributes:
      value: log p(x) in nats, (batch,).
      error: standard error of `value` from the probes, (batch,): their spread over sqrt(count);
        0 for the exact divergence, nan for a single probe, which cannot show its own spread.
      evaluations: evaluations of drift and divergence that the solve took, int32 (batch,).
      ok: whether the solve reached t_max within its steps and is finite, bool (batch,).
      latent: x at t_max, (batch, *shape).
      each: the value by each probe alone, (batch, probes); `value` is their mean. One column for
        the exact divergence.
    """

    value: Float[Array, " b"]
    error: Float[Array, " b"]
    evaluations: Int[Array, " b"]
    ok: Array
    latent: Float[Array, "b *shape"]
    each: Float[Array, "b k"]

    def __repr__(self) -> str:
        return brief(self)


def log_likelihood(
    key: Key[Array, ""] | Key[Array, " b"],
    process: Process,
    predict: Predictor,
    x: Float[Array, "b *shape"],
    *,
    cond: Cond = NO_COND,
    probe: str = "rademacher",
    num_probes: int = 1,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    t_min: float | None = None,
    t_max: float | None = None,
    max_steps: int = 4096,
    probes: Float[Array, "b k *shape"] | None = None,
    constraint: Any = None,
    throw: bool = True,
    progress: Progress | None = None,
) -> LogLikelihood:
    """log p(x) under the model's probability flow, per sample.

    Args:
      key: for the probes; one key, or one for each sample (then a sample's probes do not depend on
        its place in the batch).
      x: data in the process's range, (batch, *shape).
      cond: conditioning with a leading batch axis. With a padding mask ("mask", see
        `sde_lib.masked`) the density is that of the real coordinates.
      probe: "rademacher", "gaussian", or "exact" (all unit vectors; for few dimensions).
      num_probes: probes per sample, ignored by "exact".
      rtol, atol: tolerances of each Dormand-Prince 5(4) step, for each sample by itself: of the
        root mean square over x; log p per dimension is allowed a tenth of it (LOG_P_FRACTION).
      t_min, t_max: ends of the flow, by default the process's. Where alpha(t_max) = 0, a predictor
        made of a noise or a score has no velocity, and t_max must lie before.
      max_steps: attempted steps after which a sample is left on its way, with a warning and ok =
        False.
      probes: probes to use in place of drawn ones, for replaying a recorded run.
      constraint: refused, since constrained sampling has no density.
      throw: whether a sample that is not finite is an error; if not, it is treated likewise.
      progress: called with the time reached, see `solvers.runge_kutta.advance_in_parts`; the result
        has the same bits with and without it.

    Raises:
      InvalidValue: no predictor, a constraint, an unknown probe, tolerances or counts that are not
        positive, times outside of the process's.
      NotFinite: a sample is not finite; names it and the time at which that happened.
    """
    if constraint is not None:
        raise InvalidValue("constraint", but="a constrained sampler has no likelihood")
    draw = choose(PROBES, probe, "probe")
    require(num_probes > 0, "num_probes", num_probes, "a positive number")
    problem = FlowOptions(rtol, atol, t_min, t_max, max_steps, throw).forwards(process)
    if probes is None:
        keys = key if key.ndim else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(x)))
        probes = jax.vmap(lambda key: draw(key, num_probes, x.shape[1:]))(keys)
    exact = draw is _unit_vectors
    asked = process, as_predictor(predict), x, probes, cond

    def further(now: Underway, max_steps: int) -> Underway:
        return _solve(*asked, problem._replace(max_steps=jnp.int32(max_steps)), exact, now)

    now, ends = _solve(*asked, problem, exact), (problem.start, problem.end)
    solved = advance_in_parts(further, now, ends, max_steps, progress).solved()
    report_failures(solved, problem.end, throw)
    return _conclude(process, solved, problem.end, cond.get(MASK), exact)


def lower(
    process: Process,
    predict: Predictor,
    x: Any,
    cond: Cond,
    probe: str = "rademacher",
    num_probes: int = 1,
) -> jax.stages.Lowered:
    """The program of `log_likelihood` with these arguments, of which x and cond may be mere shapes,
    to be compiled."""
    exact = choose(PROBES, probe, "probe") is _unit_vectors
    count, problem = (
        math.prod(x.shape[1:]) if exact else num_probes,
        FlowOptions().forwards(process),
    )
    probes = jax.ShapeDtypeStruct((x.shape[0], count, *x.shape[1:]), jnp.float32)
    solve = functools.partial(_solve, process, problem=problem, exact=exact)
    asked = as_predictor(predict), x, probes, dict(cond)
    now = jax.eval_shape(solve, *asked)
    return _solve.lower(process, *asked, problem, exact, now)


@functools.partial(jax.jit, static_argnames=("process", "exact"), donate_argnames=("now",))
def _solve(
    process: Process,
    predict: Predictor,
    x: Array,
    probes: Array,
    cond: Cond,
    problem: FlowProblem,
    exact: bool,
    now: Underway | None = None,
) -> Underway:
    """(x, the integral of (2) for each probe, or their sum if exact) on its way along the flow:
    before the first step, or after those that `problem.max_steps` allows from `now` on."""
    mask = cond.get(MASK)
    probes = jnp.moveaxis(probes, 1, 0)
    if mask is not None:
        probes = jax.vmap(masked, (0, None))(probes, mask)

    def field(t: Array, y: tuple[Array, Array]) -> tuple[Array, Array]:
        def velocity(x: Array) -> Array:
            return masked(predict(x, process.node(t), cond).velocity(process), mask)

        # Reverse mode: XLA's CPU backend computes it faster inside a loop than forward mode.
        drift, pullback = jax.vjp(velocity, y[0])
        product = lambda e: example_sum(e * pullback(e)[0])  # noqa: E731
        # One probe is not mapped over, which leaves convolutions as they are.
        products = product(probes[0])[None] if len(probes) == 1 else jax.vmap(product)(probes)
        return drift, jnp.sum(products, axis=0)[:, None] if exact else products.T

    dim = dimensions(x, mask)[:, None]

    def norm(error: Any, y: Any, y_next: Any) -> Array:
        of_x = scaled_norm(error[0], problem.scale(y[0], y_next[0]), mask)
        per_dimension = problem.scale(y[1] / dim, y_next[1] / dim)
        of_log_p = scaled_norm(error[1] / dim, LOG_P_FRACTION * per_dimension)
        return jnp.maximum(of_x, of_log_p)

    ends = problem.start, problem.end
    if now is not None:
        return advance(field, now, ends, norm, problem.max_steps)
    y = masked(x, mask), jnp.zeros((len(x), 1 if exact else len(probes)))
    return begin(field, y, ends, norm)


@functools.partial(jax.jit, static_argnames=("process", "exact"))
def _conclude(
    process: Process, solved: Solved, end: Array, mask: Array | None, exact: bool
) -> LogLikelihood:
    latent, integrals = solved.y
    each = process.prior_logp(latent, end, mask)[:, None] + integrals
    value = example_mean(each)
    error = jnp.std(integrals, axis=1, ddof=1) / math.sqrt(each.shape[1])
    ok = (solved.t == end) & jnp.isfinite(value)
    return LogLikelihood(
        value, jnp.zeros_like(value) if exact else error, solved.evaluations, ok, latent, each
    )


def importance_bound(
    log_weights: Float[Array, "b draws k"],
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """The bound (3) on log P of each datum, in nats, and its standard error from the probes.

    Args:
      log_weights: log p(k + u_j) - log q(u_j) by each probe, as `LogLikelihood.each` has log p;
        (batch, draws, probes), a datum's draws under the same probes. With one column, which must
        then be exact, (3) itself, and an error of 0; otherwise (4), each half of the probes
        weighing the other.
    """
    draws, probes = log_weights.shape[1:]
    if probes == 1:
        bound = jax.nn.logsumexp(log_weights[..., 0], axis=1) - math.log(draws)
        return bound, jnp.zeros_like(bound)
    halves = log_weights[..., : probes // 2], log_weights[..., probes // 2 :]
    means = [jnp.mean(half, axis=2) for half in halves]
    weights = [jax.nn.softmax(mean, axis=1) for mean in means]
    parts = [
        jnp.sum(w * (a - jnp.log(draws * jnp.maximum(w, 1e-30))), axis=1)
        for w, a in zip(weights, reversed(means), strict=True)
    ]
    each = jnp.concatenate(
        [jnp.sum(w[..., None] * half, axis=1)
         for w, half in zip(weights, reversed(halves), strict=True)], axis=1
    )  # fmt: skip
    spread = jnp.std(each, axis=1, ddof=1) / math.sqrt(probes)
    return jnp.mean(jnp.stack(parts), axis=0), spread
