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
    "posterior"    d_x w / std, of one step of a chain            Ho et al. 2020, eq. 8 and 12

with s = sigma / alpha and s_data the standard deviation of the data. The last three are taken as
multiples of d, "likelihood" by g^2 / sigma^2 = -(log snr)' and

    (g / sigma)^2 |d_eps|^2 = 2 alpha (alpha sigma' - sigma alpha') / sigma |d|^2        (3)

so that none divides by alpha. (Song et al. 2021b: "Maximum Likelihood Training of Score-Based
Diffusion Models".) The discrete objectives of SMLD (Song & Ermon 2019, eq. 5) and DDPM are "noise"
at the levels of `sde_lib.SMLDSchedule` and `sde_lib.DDPMSchedule`, whose training times are those.

Of padded examples, whose real coordinates the mask in `cond` marks (`parameterization.MASK`), every
loss is that of the example without its padding.
"""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Int, Key

from options.choices import MOST_STEPS, choose, require, require_count, require_positive
from options.classes import named
from options.errors import InvalidValue
from options.fields import hidden
from parameterization import MASK, NO_COND, Cond, Prediction, Predictor, zero_padding
from sde_lib import (
    Node,
    Process,
    dimensions,
    example_mean,
    example_sum,
    expand_right,
    learned_log_variance,
    node_before,
    posterior_of,
    transition,
)
from variational_bound import DiscretizedGaussian, decoder_log_variance, gaussian_kl

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


@dataclasses.dataclass(frozen=True)
class Weighting(abc.ABC):
    """A row of the table: which error is squared."""

    @abc.abstractmethod
    def error(self, process: Process, errors: Errors) -> Float[Array, "b *shape"]:
        """The error, finite wherever d of (2) is."""


@dataclasses.dataclass(frozen=True)
class NoiseWeighting(Weighting):
    """The error of the noise, d_eps."""

    def error(self, process: Process, errors: Errors) -> Array:
        return errors.eps


@dataclasses.dataclass(frozen=True)
class DataWeighting(Weighting):
    """The error of the data, d_x."""

    def error(self, process: Process, errors: Errors) -> Array:
        return errors.x_0


@dataclasses.dataclass(frozen=True)
class VWeighting(Weighting):
    """The error of v, alpha d_eps - sigma d_x."""

    def error(self, process: Process, errors: Errors) -> Array:
        return errors.node.alpha * errors.eps - errors.node.sigma * errors.x_0


@dataclasses.dataclass(frozen=True)
class VelocityWeighting(Weighting):
    """The error of the velocity, d_eps - d_x."""

    def error(self, process: Process, errors: Errors) -> Array:
        return errors.eps - errors.x_0


@dataclasses.dataclass(frozen=True)
class EDMWeighting(Weighting):
    """The error d (sigma^2 + (alpha s_data)^2)^(1/2) / s_data, so that an untrained network of
    output "edm" has the same loss at every noise level.

    Attributes:
      sigma_data: standard deviation of the data, s_data.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        require_positive(self, "sigma_data")

    def error(self, process: Process, errors: Errors) -> Array:
        alpha, sigma = errors.node.alpha, errors.node.sigma
        scale = jnp.sqrt(sigma**2 + (alpha * self.sigma_data) ** 2) / self.sigma_data
        return scale * errors.both


@dataclasses.dataclass(frozen=True)
class LikelihoodWeighting(Weighting):
    """The error d times the root of the weight in (3), that of maximum likelihood."""

    def error(self, process: Process, errors: Errors) -> Array:
        alpha, sigma = errors.node.alpha, errors.node.sigma
        weight = 2 * alpha * _wronskian(process, errors.node) / sigma
        return jnp.sqrt(jnp.maximum(weight, 0.0)) * errors.both


def _posterior_variance(start: Node, end: Node, b: Array) -> Array:
    """That of the posterior; b for a step to the clean node, where it is 0."""
    return jnp.where(end.sigma > 0, posterior_of(start, end).variance, b)


STEP_VARIANCES: dict[str, Callable[[Node, Node, Array], Array]] = {
    "small": _posterior_variance,
    "large": lambda start, end, b: b,
}


@dataclasses.dataclass(frozen=True)
class PosteriorWeighting(Weighting):
    """The error of the posterior's mean in one step of a chain, in units of the step's standard
    deviation: with the reduction "half_sum" the loss is L_{t-1} of the variational bound, but for a
    constant (Ho et al. 2020, eq. 8; as an error of the noise eq. 12).

    Attributes:
      num_steps: even steps in time from t_max to t_min that the chain has; N - 1 of a discrete
        schedule of N levels. The step that would end before t_min ends at the clean node.
      variance: sigma_t^2 there, "large", that of x_t given x_s, or "small", the posterior's.
    """

    num_steps: int = 1000
    variance: str = "large"

    def __post_init__(self) -> None:
        require_count("num_steps", self.num_steps, 1, MOST_STEPS)
        choose(STEP_VARIANCES, self.variance, "variance")

    def error(self, process: Process, errors: Errors) -> Array:
        node, end = errors.node, node_before(process, errors.node.t, self.num_steps)
        _, b = transition(node, end)
        variance = STEP_VARIANCES[self.variance](node, end, b)
        return -posterior_of(node, end).x_0 * node.sigma / jnp.sqrt(variance) * errors.both


WEIGHTINGS: dict[str, type[Weighting]] = {
    "noise": NoiseWeighting,
    "data": DataWeighting,
    "v": VWeighting,
    "velocity": VelocityWeighting,
    "edm": EDMWeighting,
    "likelihood": LikelihoodWeighting,
    "posterior": PosteriorWeighting,
}


@dataclasses.dataclass(frozen=True)
class Reduction(abc.ABC):
    """From squared errors of coordinates to the loss of an example."""

    @abc.abstractmethod
    def __call__(
        self, square: Float[Array, "b *shape"], mask: Array | None = None
    ) -> Float[Array, " b"]:
        """Over the real coordinates where there is a mask, (batch,)."""


@dataclasses.dataclass(frozen=True)
class Mean(Reduction):
    """The mean over an example's coordinates."""

    def __call__(self, square: Array, mask: Array | None = None) -> Array:
        return example_mean(square, mask)


@dataclasses.dataclass(frozen=True)
class HalfSum(Reduction):
    """Half the sum over an example's coordinates, as the published VE models were trained."""

    def __call__(self, square: Array, mask: Array | None = None) -> Array:
        return 0.5 * example_sum(square, mask)


REDUCTIONS: dict[str, type[Reduction]] = {"mean": Mean, "half_sum": HalfSum}


def loss_at(
    process: Process,
    predict: Predictor,
    x_0: Float[Array, "b *shape"],
    t: Float[Array, " b"],
    eps: Float[Array, "b *shape"],
    cond: Cond = NO_COND,
    *,
    weighting: Weighting | str = NoiseWeighting(),
    reduction: Reduction | str = Mean(),
    auxiliary: "Auxiliary | None" = None,
) -> Float[Array, " b"]:
    """The loss of each example at given times and noise, shape (batch,).

    Args:
      cond: what the predictor is conditioned on; its mask, if any, says what is padding.
      weighting: a row of the table above or its name; each is finite at alpha = 0 where the
        predictor's pair is, which a network of output "noise" or "score" does not give there.
      reduction: over the coordinates of an example; `REDUCTIONS` or its name.
      auxiliary: what trains the other outputs of a predictor that has them; None for nothing.
    """
    weighting = named(WEIGHTINGS, weighting, "weighting")
    reduction = named(REDUCTIONS, reduction, "reduction")
    mask, node = cond.get(MASK), process.node(t)
    mean, std = process.marginal(x_0, t)
    x = zero_padding(mean + expand_right(std, x_0) * eps, cond)
    found = predict(x, node, cond)
    at = Node(*(expand_right(field, x) for field in node))
    error = weighting.error(process, Errors(found.x_0 - x_0, found.eps - eps, at))
    loss = reduction(error**2, mask)
    return loss + auxiliary.term(process, found, x_0, mask) if auxiliary else loss


# Other outputs of a predictor.


@runtime_checkable
class Auxiliary(Protocol):
    """What is minimised beside the denoising loss, of what else a network predicts."""

    def term(
        self,
        process: Process,
        found: Prediction,
        x_0: Float[Array, "b *shape"],
        mask: Array | None = None,
    ) -> Float[Array, " b"]:
        """What is added to the loss of each example."""
        ...


@dataclasses.dataclass(frozen=True)
class BernoulliLoss:
    """weight alpha^2 times the cross-entropy of a binary value with the log odds that were
    predicted for it, its mean over the real values of an example (Luhman & Luhman 2020, eq. 14 and
    algorithm 1): the more noise there is, the less can be said of it.

    Attributes:
      value: 0 or 1, (batch, *shape). name: of the log odds in `Prediction.aux`, of the same shape.
      averaged: the weight is the mean of alpha^2 over the batch, as in the published code.
    """

    value: Float[Array, "b *shape"]
    name: str
    weight: float = 1.0
    averaged: bool = False

    def term(
        self, process: Process, found: Prediction, x_0: Array, mask: Array | None = None
    ) -> Float[Array, " b"]:
        """See the class; without a mask all values count."""
        entropy = optax.sigmoid_binary_cross_entropy(found.aux[self.name], self.value)
        power = found.node.alpha**2
        power = jnp.mean(power) if self.averaged else power
        return self.weight * power * example_mean(entropy, mask)


# Learned variances.


@dataclasses.dataclass(frozen=True)
class VariationalBound:
    """weight L_vlb in bits per dimension, which trains variances alone (the predicted x_0 is a
    constant in it): the second term of L_hybrid = L_simple + 0.001 L_vlb (Nichol & Dhariwal 2021,
    eq. 16).

    L_vlb is that of T = num_steps steps of (t_max - t_min) / T in time: at time t the step from t
    to s counts T times its term, so that the mean over uniform t is L_vlb, averaged over where
    in the first of its intervals a chain begins. (Of a discrete schedule of N levels, T = N - 1
    makes its own steps.) The terms (Ho et al. 2020, eq. 5) are

        KL(q(x_s | x_t, x_0) || N(mean(x_t, x_0_hat), variance)),
        -log P(x_0),  P the mass of N(x_0_hat, variance) on the grey level of x_0       (eq. 13)

    the second where s would lie before t_min. `variance` is `sde_lib.learned_log_variance`; that of
    the second lies between the posterior's one step earlier and sigma_t^2, as in their code.

    Attributes:
      num_steps: T, the steps of the chain whose bound it is.
      weight: of the bound beside the denoising loss.
      low, high: the range of the pixels, 256 grey levels from one to the other.
    """

    num_steps: int = 1000
    weight: float = 0.001
    low: float = hidden(-1.0)
    high: float = hidden(1.0)

    def __post_init__(self) -> None:
        require_count("num_steps", self.num_steps, 2, MOST_STEPS)
        require_positive(self, "weight")
        require(self.low < self.high, "low", self.low, f"less than high = {self.high}")

    def term(
        self,
        process: Process,
        found: Prediction,
        x_0: Float[Array, "b *shape"],
        mask: Array | None = None,
    ) -> Float[Array, " b"]:
        """weight T times the term of the step that begins at the prediction's node."""
        bits = example_mean(self.nats(process, found, x_0), mask) / math.log(2)
        return self.weight * self.num_steps * bits

    def nats(
        self, process: Process, found: Prediction, x_0: Float[Array, "b *shape"]
    ) -> Float[Array, "b *shape"]:
        """The term of each coordinate."""
        if found.variance is None:
            raise InvalidValue("learned_variance", False, but="the loss is to train variances")
        t, v, x_0_hat = found.node.t, found.variance, jax.lax.stop_gradient(found.x_0)
        gap = (process.t_max - process.t_min) / self.num_steps
        last = t - gap < process.t_min
        start = process.node(jnp.where(last, t + gap, t))
        end = process.node(jnp.where(last, t, t - gap))
        posterior = posterior_of(start, end)
        log_variance = learned_log_variance(v, start, end)

        square = (expand_right(posterior.x_0, v) * (x_0 - x_0_hat)) ** 2
        log_posterior = expand_right(jnp.log(jnp.maximum(posterior.variance, 1e-20)), v)
        divergence = gaussian_kl(square, log_posterior, log_variance)

        is_last = expand_right(last, v)
        log_variance = jnp.where(is_last, decoder_log_variance(v, start, end), 0.0)
        decoder = DiscretizedGaussian(self.low, self.high)
        return jnp.where(is_last, -decoder.log_prob(x_0, x_0_hat, log_variance), divergence)


# Times and noise.


@runtime_checkable
class Times(Protocol):
    """How training times are drawn."""

    def draw(self, process: Process, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The times for u uniform in [0, 1), in [t_min, t_max]."""
        ...

    def weight(self, process: Process, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Importance weight of the loss at t; differs from 1 only under importance sampling, where
        the expected loss remains that of uniform t."""
        ...


@dataclasses.dataclass(frozen=True)
class UniformTimes:
    """The process's own training times: uniform, or the levels of a discrete schedule."""

    def draw(self, process: Process, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return process.training_time(u)

    def weight(self, process: Process, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.ones_like(t)


@dataclasses.dataclass(frozen=True)
class LogNormalTimes:
    """log(sigma / alpha) ~ N(mean, std^2) (Karras et al. 2022, table 1).

    Times outside the process's range are clamped to its ends.

    Attributes:
      mean, std: of log(sigma / alpha).
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        require_positive(self, "std")

    def draw(self, process: Process, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        log_ratio = self.mean + self.std * ndtri(u)
        return jnp.clip(process.time_of_log_snr(-2 * log_ratio), process.t_min, process.t_max)

    def weight(self, process: Process, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.ones_like(t)


@dataclasses.dataclass(frozen=True)
class LogitNormalTimes:
    """logit(t) ~ N(mean, std^2), with [0, 1] stretched to [t_min, t_max] (Esser et al. 2024,
    eq. 19).

    Attributes:
      mean, std: of logit(t).
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "std")

    def draw(self, process: Process, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        fraction = jax.nn.sigmoid(self.mean + self.std * ndtri(u))
        return process.t_min + fraction * (process.t_max - process.t_min)

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


# The coupling of noise with data.


def transport(
    x_0: Float[Array, "b *shape"],
    eps: Float[Array, "b *shape"],
    labels: Int[Array, " b"] | None = None,
    mask: Array | None = None,
) -> Float[Array, "b *shape"]:
    """Permutes the noise to minimise sum |x_0 - eps|^2: minibatch optimal transport (Tong et al.
    2024, section 3.2), exact, by the Hungarian algorithm in O(b^3).

    With labels, noise is exchanged within a class only: given its class, the noise of an example
    would otherwise not be normal, and a network conditioned on the class would see that. With a
    mask, likewise between examples of the same mask only, and the cost is that of real coordinates.
    """
    b = len(x_0)
    x_0 = x_0 if mask is None else jnp.where(mask, x_0, 0.0)
    cost = -jnp.matmul(x_0.reshape(b, -1), eps.reshape(b, -1).T, precision="highest")
    cost = jnp.where(jnp.isfinite(cost), cost, 0.0)  # the search ends whatever the data
    more_than_all = b * (jnp.max(cost) - jnp.min(cost)) + 1
    if labels is not None:
        cost += more_than_all * (labels[:, None] != labels)
    if mask is not None:
        cost += more_than_all * _differ(jnp.broadcast_to(mask, x_0.shape).reshape(b, -1))
    rows, columns = optax.assignment.hungarian_algorithm(cost)
    return eps[jnp.zeros(b, jnp.int32).at[rows].set(columns)]


def _differ(mask: Array) -> Array:
    """Whether the masks (b, d) of two examples differ, (b, b)."""
    real = (mask != 0).astype(jnp.float32)
    shared = jnp.matmul(real, real.T, precision="highest")
    count = dimensions(real, real)
    return (shared != count) | (shared != count[:, None])


@dataclasses.dataclass(frozen=True)
class Coupling(abc.ABC):
    """How noise goes with the data of a batch.

    Attributes:
      is_of_batch: whether the noise of an example depends on the others.
    """

    is_of_batch: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(
        self,
        x_0: Float[Array, "b *shape"],
        eps: Float[Array, "b *shape"],
        labels: Int[Array, " b"] | None = None,
        mask: Array | None = None,
    ) -> Float[Array, "b *shape"]:
        """eps in the order in which it goes with x_0."""


@dataclasses.dataclass(frozen=True)
class Independent(Coupling):
    """Noise and data as they were drawn."""

    def __call__(
        self, x_0: Array, eps: Array, labels: Array | None = None, mask: Array | None = None
    ) -> Array:
        return eps


@dataclasses.dataclass(frozen=True)
class OptimalTransport(Coupling):
    """Noise and data by minibatch optimal transport, see `transport`."""

    is_of_batch: ClassVar[bool] = True

    def __call__(
        self, x_0: Array, eps: Array, labels: Array | None = None, mask: Array | None = None
    ) -> Array:
        return transport(x_0, eps, labels, mask)


COUPLINGS: dict[str, type[Coupling]] = {
    "independent": Independent,
    "optimal_transport": OptimalTransport,
}


# Score matching without noise, for data of few dimensions.


def implicit_score_matching(
    score: Callable[[Array], Array], x: Float[Array, "b *shape"], cond: Cond = NO_COND
) -> Float[Array, " b"]:
    """tr(ds/dx) + |s|^2 / 2 at each x (Hyvarinen 2005, theorem 1).

    Its mean over data of density p is that of |s - grad log p|^2 / 2 less a constant, the mean of
    |grad log p|^2 / 2. One evaluation and d products with the Jacobian, all at once.

    Args:
      score: a score function of x (batch, *shape), which acts on each example by itself; that of a
        predictor at a node is `lambda x: predict(x, node, cond).score`, with x noised to that node.
      cond: where it has a mask, trace and norm are over the real coordinates.
    """
    shape = x.shape[1:]
    basis = jnp.eye(math.prod(shape)).reshape(-1, *shape)
    s, product = jax.linearize(score, x)

    def diagonal(e: Array) -> Array:
        return example_sum(e * product(jnp.broadcast_to(e, x.shape)), cond.get(MASK))

    return jnp.sum(jax.vmap(diagonal)(basis), axis=0) + HalfSum()(s**2, cond.get(MASK))


def sliced_score_matching(
    score: Callable[[Array], Array],
    x: Float[Array, "b *shape"],
    keys: Key[Array, " b"],
    cond: Cond = NO_COND,
    *,
    num_probes: int = 1,
    variance_reduced: bool = True,
) -> Float[Array, " b"]:
    """v^T (ds/dx) v + |s|^2 / 2 at each x, averaged over random v (Song et al. 2019, eq. 8).

    Its mean over v is `implicit_score_matching`, from one product with the Jacobian a probe. Not
    variance_reduced: (v^T s)^2 / 2 for the second term (eq. 7).

    Args:
      score, cond: as for `implicit_score_matching`; probes are 0 in the padding.
      keys: one an example, from which its Rademacher probes are drawn.
    """
    require(num_probes >= 1, "num_probes", num_probes, "at least 1")
    shape, mask = (num_probes, *x.shape[1:]), cond.get(MASK)
    probes = jax.vmap(lambda key: jax.random.rademacher(key, shape, dtype=x.dtype))(keys)
    s, product = jax.linearize(score, x)

    def along(v: Array) -> Array:
        v = zero_padding(v, cond)
        curvature = example_sum(v * product(v), mask)
        if variance_reduced:
            return curvature + HalfSum()(s**2, mask)
        return curvature + 0.5 * example_sum(v * s, mask) ** 2

    return jnp.mean(jax.vmap(along, in_axes=1)(probes), axis=0)
