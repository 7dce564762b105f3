"""Training losses, per example.

With x_t = alpha x_0 + sigma eps, a predictor errs by

    d_x = x_0_hat - x_0,    d_eps = eps_hat - eps,    alpha d_x + sigma d_eps = 0        (1)

so both are one error d, which is finite wherever the pair is, alpha = 0 and sigma = 0 included:

    d_x = -sigma d,  d_eps = alpha d,  d = (alpha d_eps - sigma d_x) / (alpha^2 + sigma^2)   (2)

Denoising score matching (Vincent 2011; Song et al. 2021, eq. 7) is |d_eps|^2 times a weight. A
weighting says which error is squared:

    weighting      error squared                                  source
    "noise"        d_eps                                          Ho et al. 2020, eq. 14
    "data"         d_x                                            Ho et al. 2020, section 3.2
    "v"            alpha d_eps - sigma d_x                        Salimans & Ho 2022, section 4
    "velocity"     d_eps - d_x                                    Lipman et al. 2023, eq. 23
    "edm"          d_x (s^2 + s_data^2)^(1/2) / (s s_data)        Karras et al. 2022, table 1
    "likelihood"   d_eps g / sigma                                Song et al. 2021b, eq. 7

with s = sigma / alpha. The last two are taken as multiples of d, by g^2 / sigma^2 = -(log snr)' and

    (g / sigma)^2 |d_eps|^2 = 2 alpha (alpha sigma' - sigma alpha') / sigma |d|^2        (3)

so that none divides by alpha. (Song et al. 2021b: "Maximum Likelihood Training of Score-Based
Diffusion Models".) The discrete objectives of SMLD (Song & Ermon 2019, eq. 5) and DDPM are "noise"
at the levels of `sde_lib.SMLDSchedule` and `sde_lib.DDPMSchedule`, whose training times are those.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import log_ndtr, ndtri
from jaxtyping import Array, Float, Int, Key

from parameterization import NO_COND, Cond, Prediction, Predictor
from sde_lib import Node, Process, expand_right, learned_log_variance, posterior_of

# Denoising losses: what is squared.


class Errors(NamedTuple):
    """The errors (1) at `node`, whose fields have shape (batch, 1, ...) to broadcast with them."""

    x_0: Float[Array, "b *shape"]
    eps: Float[Array, "b *shape"]
    node: Node

    @property
    def both(self) -> Float[Array, "b *shape"]:
        """d of (2)."""
        alpha, sigma = self.node.alpha, self.node.sigma
        return (alpha * self.eps - sigma * self.x_0) / (alpha**2 + sigma**2)


def _wronskian(process: Process, node: Node) -> Array:
    """alpha sigma' - sigma alpha', positive; -(log snr)' = 2 wronskian / (alpha sigma)."""
    return node.alpha * process.sigma_dot(node.t) - node.sigma * process.alpha_dot(node.t)


def _v_error(process: Process, errors: Errors, sigma_data: float) -> Array:
    return errors.node.alpha * errors.eps - errors.node.sigma * errors.x_0


def _edm_error(process: Process, errors: Errors, sigma_data: float) -> Array:
    alpha, sigma = errors.node.alpha, errors.node.sigma
    return jnp.sqrt(sigma**2 + (alpha * sigma_data) ** 2) / sigma_data * errors.both


def _likelihood_error(process: Process, errors: Errors, sigma_data: float) -> Array:
    alpha, sigma = errors.node.alpha, errors.node.sigma
    weight = 2 * alpha * _wronskian(process, errors.node) / sigma
    return jnp.sqrt(jnp.maximum(weight, 0.0)) * errors.both


WEIGHTINGS: dict[str, Callable[[Process, Errors, float], Array]] = {
    "noise": lambda process, errors, _: errors.eps,
    "data": lambda process, errors, _: errors.x_0,
    "v": _v_error,
    "velocity": lambda process, errors, _: errors.eps - errors.x_0,
    "edm": _edm_error,
    "likelihood": _likelihood_error,
}

REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "mean": lambda square: jnp.mean(square, axis=tuple(range(1, square.ndim))),
    "half_sum": lambda square: 0.5 * jnp.sum(square, axis=tuple(range(1, square.ndim))),
}


def loss_at(
    process: Process,
    predict: Predictor,
    x_0: Float[Array, "b *shape"],
    t: Float[Array, " b"],
    eps: Float[Array, "b *shape"],
    cond: Cond = NO_COND,
    *,
    weighting: str = "noise",
    reduction: str = "mean",
    sigma_data: float = 0.5,
    bound: "VariationalBound | None" = None,
) -> Float[Array, " b"]:
    """The loss of each example at given times and noise, shape (batch,).

    Args:
      weighting: a row of the table above; each is finite at alpha = 0 where the predictor's pair
        is, which a network of output "noise" or "score" does not give there.
      reduction: over the dimensions of an example: "mean", or "half_sum" (published VE models).
      sigma_data: standard deviation of the data, for "edm".
      bound: what trains the variances of a predictor that has them; None for none.
    """
    node = process.node(t)
    mean, _ = process.marginal(x_0, t)
    x = mean + expand_right(node.sigma, x_0) * eps
    found = predict(x, node, cond)
    at = Node(*(expand_right(field, x) for field in node))
    error = WEIGHTINGS[weighting](process, Errors(found.x_0 - x_0, found.eps - eps, at), sigma_data)
    loss = REDUCTIONS[reduction](error**2)
    return loss + bound.term(process, found, x_0) if bound else loss


# Learned variances.


@dataclasses.dataclass(frozen=True)
class VariationalBound:
    """vlb_weight L_vlb in bits per dimension, which trains variances alone (the predicted x_0 is a
    constant in it): the second term of L_hybrid = L_simple + 0.001 L_vlb (Nichol & Dhariwal 2021,
    eq. 16).

    L_vlb is that of T = vlb_steps steps of (t_max - t_min) / T in time: at time t the step from t
    to s is worth T times its term, so that the mean over uniform t is L_vlb, averaged over where
    in the first of its intervals a chain begins. (Of a discrete schedule of N levels, T = N - 1
    makes its own steps.) The terms (Ho et al. 2020, eq. 5) are

        KL(q(x_s | x_t, x_0) || N(mean(x_t, x_0_hat), variance)),
        -log P(x_0),  P the mass of N(x_0_hat, variance) on the grey level of x_0       (eq. 13)

    the second where s would lie before t_min. `variance` is `sde_lib.learned_log_variance`; that of
    the second lies between the posterior's one step earlier and sigma_t^2, as in their code.

    Attributes:
      low, high: the range of the pixels, 256 grey levels from one to the other.
    """

    vlb_steps: int = 1000
    vlb_weight: float = 0.001
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.vlb_steps < 2:
            raise ValueError(f"vlb_steps: got {self.vlb_steps}, expected at least 2")
        if not self.vlb_weight > 0:
            raise ValueError(f"vlb_weight: got {self.vlb_weight}, expected a positive number")

    def term(
        self, process: Process, found: Prediction, x_0: Float[Array, "b *shape"]
    ) -> Float[Array, " b"]:
        """vlb_weight T times the term of the step that begins at the prediction's node."""
        bits = REDUCTIONS["mean"](self.nats(process, found, x_0)) / math.log(2)
        return self.vlb_weight * self.vlb_steps * bits

    def nats(
        self, process: Process, found: Prediction, x_0: Float[Array, "b *shape"]
    ) -> Float[Array, "b *shape"]:
        """The term of each coordinate."""
        if found.variance is None:
            raise ValueError("learned_variance: got False, but the loss is to train variances")
        t, v, x_0_hat = found.node.t, found.variance, jax.lax.stop_gradient(found.x_0)
        gap = (process.t_max - process.t_min) / self.vlb_steps
        last = t - gap < process.t_min
        start = process.node(jnp.where(last, t + gap, t))
        end = process.node(jnp.where(last, t, t - gap))
        posterior = posterior_of(start, end)
        log_variance = learned_log_variance(v, start, end)

        # KL between Gaussians of means m, m_hat and variances b, b_hat
        log_ratio = expand_right(jnp.log(jnp.maximum(posterior.variance, 1e-20)), v) - log_variance
        square = (expand_right(posterior.x_0, v) * (x_0 - x_0_hat)) ** 2 * jnp.exp(-log_variance)
        divergence = 0.5 * (square + jnp.exp(log_ratio) - log_ratio - 1)

        is_last = expand_right(last, v)
        ends = learned_log_variance(jnp.zeros_like(v), start, end)
        log_variance = v * expand_right(2 * jnp.log(found.node.sigma), v) + (1 - v) * ends
        scale = jnp.exp(jnp.where(is_last, log_variance, 0.0) / 2)
        return jnp.where(is_last, -self.log_mass(x_0, x_0_hat, scale), divergence)

    def log_mass(
        self,
        x_0: Float[Array, "b *shape"],
        mean: Float[Array, "b *shape"],
        scale: Float[Array, "b *shape"],
    ) -> Float[Array, "b *shape"]:
        """log of the mass of N(mean, scale^2) within half a grey level of x_0 (Ho et al. 2020,
        eq. 13); the lowest and the highest level reach to infinity."""
        half = (self.high - self.low) / 255 / 2
        # The mass is that between two points of the lower tail, where float32 has digits.
        side = jnp.where(x_0 < self.low + half, 1.0, jnp.where(x_0 > self.high - half, -1.0, 0.0))
        away = x_0 - mean
        centre = jnp.where(side == 0, -jnp.abs(away), side * away)
        upper = log_ndtr((centre + half) / scale)
        below = upper - log_ndtr((centre - half) / scale)
        between = jnp.log(-jnp.expm1(-jnp.maximum(below, 1e-7)))
        return upper + jnp.where(side == 0, between, 0.0)


# Times and noise.


@runtime_checkable
class Times(Protocol):
    """How training times are drawn."""

    def draw(self, process: Process, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The times for u uniform in [0, 1), in [t_min, t_max]."""
        ...

    def weight(self, process: Process, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """What the loss at t is multiplied by: not 1 where t is drawn so as to lower the variance
        of a mean over uniform t, rather than to change what is minimised."""
        ...


@dataclasses.dataclass(frozen=True)
class UniformTimes:
    """The process's own training times: uniform, or the levels of a discrete schedule."""

    def draw(self, process: Process, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return process.training_time(u)

    def weight(self, process: Process, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.ones_like(t)


def _check_std(times: "LogNormalTimes | LogitNormalTimes") -> None:
    if not times.time_std > 0:
        raise ValueError(f"time_std: got {times.time_std}, expected a positive number")


@dataclasses.dataclass(frozen=True)
class LogNormalTimes:
    """log(sigma / alpha) ~ N(time_mean, time_std^2) (Karras et al. 2022, table 1).

    What lies outside the process's range is put at its ends.
    """

    time_mean: float = -1.2
    time_std: float = 1.2

    def __post_init__(self) -> None:
        _check_std(self)

    def draw(self, process: Process, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        log_ratio = self.time_mean + self.time_std * ndtri(u)
        return jnp.clip(process.time_of_log_snr(-2 * log_ratio), process.t_min, process.t_max)

    def weight(self, process: Process, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.ones_like(t)


@dataclasses.dataclass(frozen=True)
class LogitNormalTimes:
    """logit(t) ~ N(time_mean, time_std^2), with [0, 1] stretched to [t_min, t_max] (Esser et al.
    2024, eq. 19)."""

    time_mean: float = 0.0
    time_std: float = 1.0

    def __post_init__(self) -> None:
        _check_std(self)

    def draw(self, process: Process, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        share = jax.nn.sigmoid(self.time_mean + self.time_std * ndtri(u))
        return process.t_min + share * (process.t_max - process.t_min)

    def weight(self, process: Process, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.ones_like(t)


@dataclasses.dataclass(frozen=True)
class LikelihoodTimes:
    """Importance sampling for the weighting "likelihood": p(t) = g^2 / (sigma^2 Z) (Song et al.
    2021b, section 5), with the weight 1 / (p(t) (t_max - t_min)).

    As g^2 / sigma^2 = -(log snr)', log-SNR is uniform under p and Z is its range (Kingma et al.
    2021, section 5.1), so `process.time_of_log_snr` draws from p exactly. Where log-SNR is
    infinite at t_max, alpha being 0 there, the last 1e-4 of the time is left out.
    """

    def _ends(self, process: Process) -> tuple[Array, Array]:
        """log-SNR at t_min, and at t_max or a little before."""
        span = process.t_max - process.t_min
        times = jnp.array([process.t_min, process.t_max, process.t_min + 0.9999 * span])
        first, last, earlier = process.log_snr(times)
        return first, jnp.where(jnp.isfinite(last), last, earlier)

    def draw(self, process: Process, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        first, last = self._ends(process)
        t = process.time_of_log_snr(first + u * (last - first))
        return jnp.clip(t, process.t_min, process.t_max)

    def weight(self, process: Process, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        first, last = self._ends(process)
        node = process.node(t)
        rate = 2 * _wronskian(process, node) * (process.t_max - process.t_min)
        return (first - last) * node.alpha * node.sigma / rate


TIMES: dict[str, type[Times]] = {
    "uniform": UniformTimes,
    "lognormal": LogNormalTimes,
    "logit_normal": LogitNormalTimes,
    "likelihood": LikelihoodTimes,
}


def draw_times_and_noise(
    process: Process,
    keys: Key[Array, " b"],
    shape: tuple[int, ...],
    times: Times = UniformTimes(),
) -> tuple[Float[Array, " b"], Float[Array, "b *shape"]]:
    """Training times (batch,) and standard normal noise (batch, *shape), one key per example.

    An example's draw depends on its own key alone, so batches may be split in any way. The loss of
    each is to be multiplied by `times.weight`.
    """

    def draw(key: Array) -> tuple[Array, Array]:
        time_key, noise_key = jax.random.split(key)
        return jax.random.uniform(time_key), jax.random.normal(noise_key, shape)

    u, eps = jax.vmap(draw)(keys)
    return times.draw(process, u), eps


def transport(
    x_0: Float[Array, "b *shape"],
    eps: Float[Array, "b *shape"],
    labels: Int[Array, " b"] | None = None,
) -> Float[Array, "b *shape"]:
    """The noise in the order of least sum |x_0 - eps|^2: minibatch optimal transport (Tong et al.
    2024, section 3.2), exact, by the Hungarian algorithm in O(b^3).

    With labels noise is exchanged within a class only, since a network that is told the class
    would otherwise see noise that is not normal given it.
    """
    b = len(x_0)
    cost = -jnp.matmul(x_0.reshape(b, -1), eps.reshape(b, -1).T, precision="highest")
    cost = jnp.where(jnp.isfinite(cost), cost, 0.0)  # the search ends whatever the data
    if labels is not None:
        more_than_all = b * (jnp.max(cost) - jnp.min(cost)) + 1
        cost += more_than_all * (labels[:, None] != labels)
    rows, columns = optax.assignment.hungarian_algorithm(cost)
    return eps[jnp.zeros(b, jnp.int32).at[rows].set(columns)]


# (x_0, eps, labels) -> eps, in the order in which it goes with x_0.
COUPLINGS: dict[str, Callable[[Array, Array, Array | None], Array]] = {
    "independent": lambda x_0, eps, labels: eps,
    "optimal_transport": transport,
}


def drop_labels(keys: Key[Array, " b"], labels: Array, null_label: int, rate: float) -> Array:
    """`labels` with each replaced by `null_label` with probability `rate` (Ho & Salimans 2022)."""
    dropped = jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)
    return jnp.where(dropped, null_label, labels)


# Score matching without noise, for data of few dimensions.


def implicit_score_matching(
    score: Callable[[Array], Array], x: Float[Array, "b *shape"]
) -> Float[Array, " b"]:
    """tr(ds/dx) + |s|^2 / 2 at each x (Hyvarinen 2005, theorem 1).

    Its mean over data of density p is that of |s - grad log p|^2 / 2 less a constant, the mean of
    |grad log p|^2 / 2. One evaluation and d products with the Jacobian, all at once.

    Args:
      score: a score function of x (batch, *shape), which acts on each example by itself; that of a
        predictor at a node is `lambda x: predict(x, node).score`, with x noised to that node.
    """
    b, shape = x.shape[0], x.shape[1:]
    basis = jnp.eye(math.prod(shape)).reshape(-1, *shape)
    s, product = jax.linearize(score, x)

    def diagonal(e: Array) -> Array:
        return jnp.sum((e * product(jnp.broadcast_to(e, x.shape))).reshape(b, -1), axis=-1)

    return jnp.sum(jax.vmap(diagonal)(basis), axis=0) + REDUCTIONS["half_sum"](s**2)


def sliced_score_matching(
    score: Callable[[Array], Array],
    x: Float[Array, "b *shape"],
    keys: Key[Array, " b"],
    *,
    num_probes: int = 1,
    variance_reduced: bool = True,
) -> Float[Array, " b"]:
    """v^T (ds/dx) v + |s|^2 / 2 at each x, averaged over random v (Song et al. 2019, eq. 8).

    Its mean over v is `implicit_score_matching`, from one product with the Jacobian a probe. Not
    variance_reduced: (v^T s)^2 / 2 for the second term (eq. 7).

    Args:
      score: as for `implicit_score_matching`.
      keys: one an example, from which its Rademacher probes are drawn.
    """
    if num_probes < 1:
        raise ValueError(f"num_probes: got {num_probes}, expected at least 1")
    b, shape = x.shape[0], (num_probes, *x.shape[1:])
    probes = jax.vmap(lambda key: jax.random.rademacher(key, shape, dtype=x.dtype))(keys)
    s, product = jax.linearize(score, x)

    def along(v: Array) -> Array:
        curvature = jnp.sum((v * product(v)).reshape(b, -1), axis=-1)
        if variance_reduced:
            return curvature + REDUCTIONS["half_sum"](s**2)
        return curvature + 0.5 * jnp.sum((v * s).reshape(b, -1), axis=-1) ** 2

    return jnp.mean(jax.vmap(along, in_axes=1)(probes), axis=0)
