"""Log-likelihood by the probability flow (Song et al. 2021, section 4.3 and app. D).

The flow dx/dt = v(x, t) carries data to the prior, and along it (Chen et al. 2018, eq. 8)

    log p(x_0) = log prior(x_T) + int_{t_min}^{t_max} div v(x_t, t) dt                  (1)

The divergence is estimated with probes e, E[e e^T] = I (Hutchinson 1990; Grathwohl et al. 2019):

    div v = E[e^T (dv/dx) e]                                                           (2)

Drift and (2) come from one linearised pass, with a vector-Jacobian product in x alone: about two
forwards. Each sample has its own step sizes, so its value does not depend on its neighbours.
"""

import functools
import math
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from parameterization import NO_COND, Cond, Predictor
from sde_lib import Process

PROBES = ("rademacher", "gaussian", "exact")


class LogLikelihood(NamedTuple):
    """The result of `log_likelihood`; every field has a leading batch axis.

    Attributes:
      value: log p(x) in nats, (batch,).
      error: standard error of `value` from the probes, (batch,): their spread over sqrt(count);
        0 for the exact divergence, nan for a single probe, which cannot show its own spread.
      evaluations: evaluations of drift and divergence that the solve took, int32 (batch,).
      ok: whether the solve reached t_max within its steps and is finite, bool (batch,).
      latent: x at t_max, (batch, *shape).
    """

    value: Float[Array, " b"]
    error: Float[Array, " b"]
    evaluations: Int[Array, " b"]
    ok: Array
    latent: Float[Array, "b *shape"]


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
    max_steps: int = 4096,
    probes: Float[Array, "b k *shape"] | None = None,
    constraint: Any = None,
) -> LogLikelihood:
    """log p(x) under the model's probability flow, per sample.

    Args:
      key: for the probes; one key, or one for each sample (then a sample's probes do not depend on
        its place in the batch).
      x: data in the process's range, (batch, *shape).
      cond: conditioning with a leading batch axis.
      probe: "rademacher", "gaussian", or "exact" (all unit vectors; for few dimensions).
      num_probes: probes per sample, ignored by "exact".
      rtol, atol: tolerances of the adaptive Dormand-Prince 5(4) solve, for each sample by itself.
      t_min: where integration begins; default the process's t_min.
      max_steps: attempted steps after which a sample is given up (`ok` false).
      probes: probes to use in place of drawn ones, for replaying a recorded run.
      constraint: refused, since constrained sampling has no density.

    Raises:
      ValueError: a constraint, an unknown probe, tolerances or counts that are not positive.
    """
    if constraint is not None:
        raise ValueError("constraint: a constrained sampler has no likelihood; expected None")
    if probe not in PROBES:
        raise ValueError(f"probe: got {probe!r}, expected one of {PROBES}")
    for name, number in (("rtol", rtol), ("atol", atol), ("num_probes", num_probes)):
        if number <= 0:
            raise ValueError(f"{name}: got {number}, expected a positive number")
    keys = key if key.ndim else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(x)))
    if probes is None:
        draw = functools.partial(_draw_probes, probe=probe, num=num_probes, shape=x.shape[1:])
        probes = jax.vmap(draw)(keys)
    start = process.t_min if t_min is None else t_min
    return _solve(process, predict, x, probes, cond, probe, rtol, atol, start, max_steps)


def _draw_probes(key: Array, probe: str, num: int, shape: tuple[int, ...]) -> Array:
    """Probes (num, *shape) of one sample; for "exact" the unit vectors."""
    if probe == "rademacher":
        return jax.random.rademacher(key, (num, *shape), dtype=jnp.float32)
    if probe == "gaussian":
        return jax.random.normal(key, (num, *shape))
    dim = math.prod(shape)
    return jnp.eye(dim).reshape(dim, *shape)


@functools.partial(
    jax.jit, static_argnames=("process", "probe", "rtol", "atol", "t_min", "max_steps")
)
def _solve(
    process: Process,
    predict: Predictor,
    x: Array,
    probes: Array,
    cond: Cond,
    probe: str,
    rtol: float,
    atol: float,
    t_min: float,
    max_steps: int,
) -> LogLikelihood:
    def solve_one(x: Array, probes: Array, cond: Cond) -> tuple[Array, ...]:
        single = jax.tree.map(lambda leaf: leaf[None], cond)

        def velocity(t: Array, x: Array) -> Array:
            node = process.node(jnp.reshape(t, (1,)))
            return predict(x[None], node, single).velocity(process)[0]

        def field(t: Any, y: tuple[Array, Array], _: Any) -> tuple[Array, Array]:
            # Reverse mode: XLA's CPU backend computes it faster inside a loop than forward mode.
            drift, pullback = jax.vjp(lambda x: velocity(t, x), y[0])
            products = jax.vmap(lambda e: jnp.sum(e * pullback(e)[0]))(probes)
            return drift, products

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Dopri5(),
            t0=t_min,
            t1=process.t_max,
            dt0=None,
            y0=(x, jnp.zeros(probes.shape[0])),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=max_steps,
            throw=False,
        )
        assert solution.ys is not None
        latent, integral = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
        # Dormand-Prince is first-same-as-last: one evaluation, then six for each attempted step.
        evaluations = 1 + 6 * solution.stats["num_steps"]
        return latent, integral, evaluations, solution.result == diffrax.RESULTS.successful

    latent, integral, evaluations, ok = jax.vmap(solve_one)(x, probes, cond)
    count = integral.shape[1]
    prior = process.prior_logp(latent)
    if probe == "exact":
        value, error = prior + jnp.sum(integral, axis=1), jnp.zeros(len(x))
    else:
        value = prior + jnp.mean(integral, axis=1)
        error = jnp.std(integral, axis=1, ddof=1) / math.sqrt(count)
    ok = ok & jnp.isfinite(value)
    return LogLikelihood(value, error, evaluations.astype(jnp.int32), ok, latent)
