"""Noising processes: how data becomes noise in continuous time.

Every process here is Gaussian and acts on each coordinate alike, so two scalar functions of time
say everything about it (Song et al. 2021, "Score-Based Generative Modeling through SDEs", eq. 29;
Karras et al. 2022, app. B):

    x_t = alpha(t) x_0 + sigma(t) eps,      eps ~ N(0, I)                               (1)

with data at t = 0 and the prior at t = t_max. The stochastic differential equation that has these
marginals, and its coefficients, follow:

    dx = f(t) x dt + g(t) dw                                                           (2)
    f = (log alpha)',      g^2 = (sigma^2)' - 2 (log alpha)' sigma^2                   (3)

Time reversal (Anderson 1982; Song et al., eq. 6) and the probability flow (Song et al., eq. 13):

    dx = [f x - g^2 score(x, t)] dt + g dw                                             (4)
    dx = [f x - g^2 score(x, t) / 2] dt                                                (5)

A process of your own is `alpha` and `sigma`; (3) is then found by automatic differentiation:

    @dataclasses.dataclass(frozen=True)
    class Exponential(Process):                       # dx = e^t dw
        def alpha(self, t): return jnp.ones_like(t)
        def sigma(self, t): return jnp.sqrt(jnp.expm1(2 * t) / 2)

Times are float32 arrays of shape (batch,) or (); states are (batch, *shape) of any rank. A process
knows neither step counts nor networks, and nothing outside this file asks for its type.
"""

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Shaped

from options.choices import MOST_STEPS, require, require_count, require_positive
from options.errors import InvalidValue, Words

ScoreFn = Callable[[Float[Array, "b *shape"], Float[Array, " b"]], Float[Array, "b *shape"]]


class Node(NamedTuple):
    """A point of a time grid: `t` and the pair (alpha, sigma) there, arrays of one shape.

    The clean node, where sampling may end, has alpha = 1 and sigma = 0.
    """

    t: Float[Array, "*n"]
    alpha: Float[Array, "*n"]
    sigma: Float[Array, "*n"]


def expand_right(t: Shaped[Array, "*n"], x: Array) -> Array:
    """`t` of shape (batch,) or () with trailing axes added until it broadcasts against `x`."""
    return jnp.reshape(t, t.shape + (1,) * (x.ndim - t.ndim)) if t.ndim else t


def masked(x: Float[Array, "b *shape"], mask: Array | None) -> Float[Array, "b *shape"]:
    """`x` with 0 in the padding, where the mask is 0; `x` itself without a mask.

    A padding mask is bool or float with a leading batch axis and broadcasts to x: (b, length, 1)
    for sequences (b, length, channels). 1 marks the coordinates that an example has.
    """
    return x if mask is None else jnp.where(mask != 0, x, 0.0)


def example_sum(x: Float[Array, "b *shape"], mask: Array | None = None) -> Float[Array, " b"]:
    """The sum over each example's coordinates, (batch,); only the real ones with a mask."""
    return jnp.sum(masked(x, mask), axis=tuple(range(1, x.ndim)))


def example_mean(x: Float[Array, "b *shape"], mask: Array | None = None) -> Float[Array, " b"]:
    """The mean over each example's coordinates, (batch,); only the real ones with a mask.

    0 for an example that is all padding.
    """
    if mask is None:
        return jnp.mean(x, axis=tuple(range(1, x.ndim)))
    return example_sum(x, mask) / jnp.maximum(dimensions(x, mask), 1.0)


def dimensions(x: Float[Array, "b *shape"], mask: Array | None = None) -> Float[Array, " b"]:
    """How many (real) coordinates each example has, float32 (batch,)."""
    return example_sum(jnp.ones(x.shape, jnp.float32), mask)


def transition(node: Node, node_next: Node) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """(r, b) of x_t | x_s ~ N(r x_s, b I), t at `node` and s at `node_next`, the cleaner.

        r = alpha_t / alpha_s,   b = sigma_t^2 - r^2 sigma_s^2         (Kingma et al. 2021, app. A)

    b = sigma_t^2 (1 - q)(1 + q) with q = r sigma_s / sigma_t, which keeps float32's digits where
    the two nodes are close.
    """
    r = node.alpha / node_next.alpha
    q = r * node_next.sigma / node.sigma
    return r, node.sigma**2 * (1 - q) * (1 + q)


class Posterior(NamedTuple):
    """x_s | x_t, x_0 ~ N(x_t * x_t + x_0 * x_0, variance): its two weights and variance, (n,)."""

    x_t: Float[Array, "*n"]
    x_0: Float[Array, "*n"]
    variance: Float[Array, "*n"]


def posterior_of(node: Node, node_next: Node) -> Posterior:
    """p(x_s | x_t, x_0) (Ho et al. 2020, eq. 7, for any Gaussian process)."""
    r, b = transition(node, node_next)
    fraction = b / node.sigma**2
    return Posterior(
        x_t=r * (node_next.sigma / node.sigma) ** 2,
        x_0=node_next.alpha * fraction,
        variance=fraction * node_next.sigma**2,
    )


def learned_log_variance(
    v: Float[Array, "b *shape"], node: Node, node_next: Node
) -> Float[Array, "b *shape"]:
    """v log b + (1 - v) log of the posterior's variance (Nichol & Dhariwal 2021, eq. 15).

    The second is kept above 1e-20, so that a step to the clean node has a logarithm.
    """
    _, b = transition(node, node_next)
    small = jnp.maximum(posterior_of(node, node_next).variance, 1e-20)
    return v * expand_right(jnp.log(b), v) + (1 - v) * expand_right(jnp.log(small), v)


def _derivative(fn: Callable[[Array], Array], t: Array) -> Array:
    """Elementwise derivative of a function that acts on each element of `t` alone."""
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


@dataclasses.dataclass(frozen=True)
class Process:
    """A Gaussian noising process (1). Subclasses give `alpha` and `sigma`; the rest follows.

    Attributes:
      t_min: earliest time at which the process is trained and integrated; 0 where nothing is
        singular there.
      t_max: time of the prior.
      width_field: the field that is the width of the prior, where that has to suit the data, since
        alpha leaves them as wide as they are; "" where it takes them away.
    """

    width_field: ClassVar[str] = ""
    t_min: float = dataclasses.field(default=1e-5, kw_only=True)
    t_max: float = dataclasses.field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        if not 0.0 <= self.t_min < self.t_max:
            raise InvalidValue("t_min", self.t_min, f"a time in [0, t_max), t_max = {self.t_max}")

    # What a process defines.

    @abstractmethod
    def alpha(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Scale of the data at time t."""
        raise TypeError(f"{type(self).__name__} must define alpha(t)")

    @abstractmethod
    def sigma(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Standard deviation of the noise at time t."""
        raise TypeError(f"{type(self).__name__} must define sigma(t)")

    @property
    def prior_std(self) -> float:
        """Standard deviation of the centred Gaussian that sampling starts from: sigma(t_max)."""
        with jax.ensure_compile_time_eval():
            return float(self.sigma(jnp.float32(self.t_max)))

    # What follows.

    def log_alpha(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """log alpha(t)."""
        return jnp.log(self.alpha(t))

    def log_alpha_dot(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """f(t) = (log alpha)', the linear drift coefficient of (3)."""
        return _derivative(self.log_alpha, t)

    def diffusion_squared(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """g(t)^2 of (3)."""
        variance_dot = _derivative(lambda s: self.sigma(s) ** 2, t)
        return variance_dot - 2 * self.log_alpha_dot(t) * self.sigma(t) ** 2

    def alpha_dot(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """d alpha / dt."""
        return _derivative(self.alpha, t)

    def sigma_dot(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """d sigma / dt."""
        return _derivative(self.sigma, t)

    def log_snr(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """log(alpha^2 / sigma^2), which falls with t."""
        return 2 * (self.log_alpha(t) - jnp.log(self.sigma(t)))

    def time_of_log_snr(self, log_snr: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The time at which the process has this log-SNR, by bisection over [t_min, t_max].

        Accurate to 2^-40 of the interval, or to float32 where that is coarser; a value outside the
        process's range gives the nearer end.
        """

        def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bounds
            middle = (low + high) / 2
            too_early = self.log_snr(middle) > log_snr
            return jnp.where(too_early, middle, low), jnp.where(too_early, high, middle)

        ends = (jnp.full_like(log_snr, self.t_min), jnp.full_like(log_snr, self.t_max))
        low, high = jax.lax.fori_loop(0, 40, halve, ends)
        return (low + high) / 2

    def training_time(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The time at which to train for u uniform in [0, 1): uniform over [t_min, t_max]."""
        return self.t_min + u * (self.t_max - self.t_min)

    def span(
        self, low: float | None, high: float | None, names: str = "t_min, t_max"
    ) -> tuple[float, float]:
        """The ends of a run, by default t_min and t_max; InvalidValue outside of the process.

        names: what the two are called where they come from.
        """
        low = self.t_min if low is None else low
        high = self.t_max if high is None else high
        between = " < ".join(names.split(", "))
        expected = f"0 <= {between} <= {self.t_max}, the process's end"
        require(0 <= low < high <= self.t_max, names, Words(f"{low}, {high}"), expected)
        return low, high

    def node(self, t: Float[Array, "*n"]) -> Node:
        """The grid node at time t."""
        return Node(t, self.alpha(t), self.sigma(t))

    def marginal(
        self, x_0: Float[Array, "b *shape"], t: Float[Array, " b"]
    ) -> tuple[Float[Array, "b *shape"], Float[Array, " b"]]:
        """Mean (batch, *shape) and standard deviation (batch,) of p(x_t | x_0), (1)."""
        return expand_right(self.alpha(t), x_0) * x_0, self.sigma(t)

    def path(
        self, key: Key[Array, ""], x_0: Float[Array, "b *shape"], t: Float[Array, " n"]
    ) -> Float[Array, "n b *shape"]:
        """A path of (2) from each x_0, at rising times after 0: exact draws, by `transition`."""
        steps = np.diff(np.asarray(t), prepend=0.0)
        require(np.all(steps > 0), "t", Words(f"times {t}"), "times that rise, after 0")
        clean = Node(*(jnp.float32(value) for value in (0.0, 1.0, 0.0)))
        x, before, found = x_0, clean, []
        for node in map(self.node, t):
            key, draw = jax.random.split(key)
            r, b = transition(node, before)
            x = r * x + jnp.sqrt(b) * jax.random.normal(draw, x.shape)
            found.append(x)
            before = node
        return jnp.stack(found)

    def sde(
        self, x: Float[Array, "b *shape"], t: Float[Array, " b"]
    ) -> tuple[Float[Array, "b *shape"], Float[Array, " b"]]:
        """Drift f x (batch, *shape) and diffusion g (batch,) of the forward equation (2)."""
        return expand_right(self.log_alpha_dot(t), x) * x, jnp.sqrt(self.diffusion_squared(t))

    def reverse(self, score_fn: ScoreFn) -> "ReverseSDE":
        """The time-reversed equation (4) under a score function `score_fn(x, t)`."""
        return ReverseSDE(self, score_fn)

    def probability_flow(
        self, score_fn: ScoreFn
    ) -> Callable[[Float[Array, "b *shape"], Float[Array, " b"]], Float[Array, "b *shape"]]:
        """The drift (5) of the ordinary equation with the same marginals, as a function of x, t."""
        return lambda x, t: ReverseSDE(self, score_fn, score_weight=0.5).sde(x, t)[0]

    def prior_sample(
        self, key: Key[Array, ""], shape: tuple[int, ...]
    ) -> Float[Array, "*batch_shape"]:
        """A draw from the prior N(0, prior_std^2 I) of the given shape, float32."""
        return self.prior_std * jax.random.normal(key, shape)

    def prior_std_at(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """Standard deviation of the Gaussian that stands for x_t where a run begins at t: that of
        the prior, times sigma(t) / sigma(t_max)."""
        t_max = jnp.float32(self.t_max)
        return self.prior_std * jnp.where(t < t_max, self.sigma(t) / self.sigma(t_max), 1.0)

    def prior_logp(
        self,
        z: Float[Array, "b *shape"],
        t: Float[Array, ""] | None = None,
        mask: Array | None = None,
    ) -> Float[Array, " b"]:
        """log density of the prior (at t, see `prior_std_at`) at each z, in nats, (batch,).

        mask: of padding; the density is that of the real coordinates.
        """
        std = self.prior_std if t is None else self.prior_std_at(t)
        square = example_sum(z**2, mask) / std**2
        return -0.5 * square - dimensions(z, mask) * (0.5 * jnp.log(2 * jnp.pi) + jnp.log(std))


def node_before(process: Process, t: Float[Array, "*n"], num_steps: int) -> Node:
    """The node one of `num_steps` even steps from t_max to t_min before t; the clean node where
    that would lie before t_min."""
    earlier = t - (process.t_max - process.t_min) / num_steps
    is_first = earlier < process.t_min
    node = process.node(jnp.where(is_first, t, earlier))
    clean = (0.0, 1.0, 0.0)
    return Node(*(jnp.where(is_first, c, f) for c, f in zip(clean, node, strict=True)))


def _require_order(process: Process, low: str, high: str) -> None:
    """InvalidValue unless 0 < low < high, two fields of the process by name."""
    first, second = getattr(process, low), getattr(process, high)
    expected = f"a positive number below {high} = {second}"
    require(0.0 < first < second, low, first, expected)


@dataclasses.dataclass(frozen=True)
class ReverseSDE:
    """Equation (4): dx = [f x - score_weight g^2 score] dt + g dw, time running backwards.

    `score_weight` 1/2 gives the drift of the probability flow (5).
    """

    process: Process
    score_fn: ScoreFn
    score_weight: float = 1.0

    def sde(
        self, x: Float[Array, "b *shape"], t: Float[Array, " b"]
    ) -> tuple[Float[Array, "b *shape"], Float[Array, " b"]]:
        """Drift (batch, *shape) and diffusion g (batch,)."""
        drift, diffusion = self.process.sde(x, t)
        weight = expand_right(self.score_weight * diffusion**2, x)
        return drift - weight * self.score_fn(x, t), diffusion


@dataclasses.dataclass(frozen=True)
class VESDE(Process):
    """Variance exploding (Song et al. 2021, eq. 9, 30): alpha = 1, sigma geometric in t.

        sigma(t) = sigma_min (sigma_max / sigma_min)^t

    Published values: sigma_min 0.01; sigma_max 50 for CIFAR-10, 348 to 380 at 256 pixels, the
    largest distance between two training images (`tools/sigma_max.py`).

    Attributes:
      sigma_min, sigma_max: sigma(0) and sigma(1).
    """

    width_field = "sigma_max"
    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_order(self, "sigma_min", "sigma_max")

    @property
    def _log_ratio(self) -> Array:
        return jnp.log(self.sigma_max) - jnp.log(self.sigma_min)

    @property
    def prior_std(self) -> float:
        return self.sigma_max * 1.0

    def alpha(self, t):
        return jnp.ones_like(t)

    def sigma(self, t):
        return self.sigma_min * jnp.exp(t * self._log_ratio)

    def log_alpha(self, t):
        return jnp.zeros_like(t)

    def log_alpha_dot(self, t):
        return jnp.zeros_like(t)

    def diffusion_squared(self, t):
        return 2 * self._log_ratio * self.sigma(t) ** 2

    def time_of_log_snr(self, log_snr):
        return (-log_snr / 2 - jnp.log(self.sigma_min)) / self._log_ratio


@dataclasses.dataclass(frozen=True)
class _LinearBeta(Process):
    """beta(t) = beta_min + t (beta_max - beta_min), shared by VP and sub-VP.

    log alpha(t) = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2

    Attributes:
      beta_min, beta_max: beta(0) and beta(1).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_order(self, "beta_min", "beta_max")

    @property
    def prior_std(self) -> float:
        return 1.0

    def beta(self, t: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Rate of noising, (log alpha)' = -beta / 2."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def alpha(self, t):
        return jnp.exp(self.log_alpha(t))

    def log_alpha(self, t):
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def log_alpha_dot(self, t):
        return -0.5 * self.beta(t)

    def alpha_dot(self, t):
        return self.log_alpha_dot(t) * self.alpha(t)

    def _time_of_log_alpha(self, log_alpha: Array) -> Array:
        """The positive root of the quadratic for log alpha, in the form without cancellation."""
        slope, b = self.beta_max - self.beta_min, self.beta_min
        return -4 * log_alpha / (b + jnp.sqrt(b**2 - 4 * slope * log_alpha))


@dataclasses.dataclass(frozen=True)
class VPSDE(_LinearBeta):
    """Variance preserving (Song et al. 2021, eq. 11, 33): the continuous limit of DDPM.

    sigma^2 = 1 - alpha^2, by expm1 so that float32 holds near t = 0 (the textbook form loses 0.6 %
    at t = 1e-5).
    """

    def sigma(self, t):
        return jnp.sqrt(-jnp.expm1(2 * self.log_alpha(t)))

    def diffusion_squared(self, t):
        return self.beta(t)

    def sigma_dot(self, t):
        # sigma sigma' = -alpha alpha' = alpha^2 beta / 2
        return 0.5 * self.beta(t) * self.alpha(t) ** 2 / self.sigma(t)

    def time_of_log_snr(self, log_snr):
        # alpha^2 = 1 / (1 + exp(-log_snr))
        return self._time_of_log_alpha(-0.5 * jax.nn.softplus(-log_snr))


@dataclasses.dataclass(frozen=True)
class SubVPSDE(_LinearBeta):
    """Sub-variance preserving (Song et al. 2021, eq. 28, 34): sigma = 1 - alpha^2."""

    def sigma(self, t):
        return -jnp.expm1(2 * self.log_alpha(t))

    def diffusion_squared(self, t):
        # beta (1 - exp(-2 int beta)) = beta (1 - alpha^4), Song et al. 2021, eq. 28
        return -self.beta(t) * jnp.expm1(4 * self.log_alpha(t))

    def sigma_dot(self, t):
        return self.beta(t) * self.alpha(t) ** 2


@dataclasses.dataclass(frozen=True)
class CosineVP(Process):
    """Variance preserving with a cosine alpha (Nichol & Dhariwal 2021, eq. 17), continuous in t.

        alpha(t) = cos(a(t)) / cos(a(0)),   a(t) = (pi / 2) (t + offset) / (1 + offset)

    alpha is 0 at t = 1, where the drift is infinite; t_max stops before, where alpha = 0.0084, as
    DPM-Solver does (Lu et al. 2022, app. D).

    Attributes:
      offset: the larger, the more noise there is near t = 0.
    """

    offset: float = 0.008
    t_max: float = dataclasses.field(default=0.9946, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "offset")
        require(self.t_max < 1, "t_max", self.t_max, "a time below 1, where alpha is 0")

    @property
    def _rate(self) -> float:
        return 0.5 * math.pi / (1 + self.offset)

    @property
    def prior_std(self) -> float:
        return 1.0

    def _angle(self, t: Array) -> Array:
        return self._rate * (t + self.offset)

    def alpha(self, t):
        return jnp.cos(self._angle(t)) / math.cos(self._rate * self.offset)

    def sigma(self, t):
        # cos^2 b - cos^2 a = sin(a - b) sin(a + b), which holds in float32 near t = 0
        start = self._rate * self.offset
        both = jnp.sin(self._rate * t) * jnp.sin(self._angle(t) + start)
        return jnp.sqrt(both) / math.cos(start)

    def log_alpha_dot(self, t):
        return -self._rate * jnp.tan(self._angle(t))

    def alpha_dot(self, t):
        return self.log_alpha_dot(t) * self.alpha(t)

    def diffusion_squared(self, t):
        return -2 * self.log_alpha_dot(t)

    def sigma_dot(self, t):
        return -self.alpha(t) * self.alpha_dot(t) / self.sigma(t)


@dataclasses.dataclass(frozen=True)
class EDM(Process):
    """Noise whose standard deviation is the time, sigma = t (Karras et al. 2022, table 1)."""

    width_field = "t_max"
    t_min: float = dataclasses.field(default=0.002, kw_only=True)
    t_max: float = dataclasses.field(default=80.0, kw_only=True)

    @property
    def prior_std(self) -> float:
        return self.t_max * 1.0

    def alpha(self, t):
        return jnp.ones_like(t)

    def sigma(self, t):
        return t

    def log_alpha(self, t):
        return jnp.zeros_like(t)

    def log_alpha_dot(self, t):
        return jnp.zeros_like(t)

    def diffusion_squared(self, t):
        return 2 * t

    def time_of_log_snr(self, log_snr):
        return jnp.exp(-log_snr / 2)


@dataclasses.dataclass(frozen=True)
class FlowMatching(Process):
    """Straight paths from noise to data (Lipman et al. 2023; Liu et al. 2023): alpha = 1 - t.

        x_t = (1 - t) x_0 + t eps,      dx/dt = eps - x_0

    with data at t = 0 as everywhere in this project (the papers' time is 1 - t). At t = 1 alpha is
    0, so the drift and the diffusion of (2) are infinite there while the velocity is not: solvers
    of the probability flow begin at t = 1, those of the SDE (4) must begin a little before.
    """

    @property
    def prior_std(self) -> float:
        return 1.0

    def alpha(self, t):
        return 1 - t

    def sigma(self, t):
        return t

    def alpha_dot(self, t):
        return -jnp.ones_like(t)

    def sigma_dot(self, t):
        return jnp.ones_like(t)

    def log_alpha(self, t):
        return jnp.log1p(-t)

    def log_alpha_dot(self, t):
        return -1 / (1 - t)

    def diffusion_squared(self, t):
        return 2 * t / (1 - t)

    def time_of_log_snr(self, log_snr):
        # (1 - t) / t = exp(log_snr / 2)
        return jax.nn.sigmoid(-log_snr / 2)


@dataclasses.dataclass(frozen=True)
class _Table(Process):
    """A discrete schedule of `num_steps` levels i = 0 .. N - 1, at the times t_i = i / (N - 1).

    Between levels it is interpolated, so that it is a process like any other; at the levels it is
    exact.

    Attributes:
      num_steps: N, how many levels there are.
    """

    num_steps: int = 1000
    t_min: float = dataclasses.field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("num_steps", self.num_steps, 2, MOST_STEPS)

    def times(self) -> Float[Array, " n"]:
        """The times of the levels, ascending."""
        return jnp.arange(self.num_steps) / (self.num_steps - 1)

    def training_time(self, u):
        return jnp.floor(u * self.num_steps) / (self.num_steps - 1)

    def _interpolate(self, t: Array, table: Array) -> Array:
        position = t * (self.num_steps - 1)
        low = jnp.clip(jnp.floor(position), 0, self.num_steps - 2).astype(int)
        weight = position - low
        return table[low] * (1 - weight) + table[low + 1] * weight


@dataclasses.dataclass(frozen=True)
class DDPMSchedule(_Table):
    """DDPM's chain (Ho et al. 2020, eq. 2, 4): beta_i linear from beta_min / N to beta_max / N.

    alpha(t_i)^2 = prod_{j <= i} (1 - beta_j); log alpha is interpolated linearly between levels.
    As N grows it tends to VPSDE(beta_min, beta_max) (Song et al. 2021, app. B).

    Attributes:
      beta_min, beta_max: N times the first and the last beta_i.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_order(self, "beta_min", "beta_max")
        if self.beta_max >= self.num_steps:
            expected = f"beta_max / num_steps below 1, in {self.num_steps} steps"
            raise InvalidValue("beta_max", self.beta_max, expected)

    @property
    def prior_std(self) -> float:
        return 1.0

    def betas(self) -> Float[Array, " n"]:
        """beta_i, shape (num_steps,)."""
        n = self.num_steps
        return jnp.linspace(self.beta_min / n, self.beta_max / n, n)

    def log_alpha(self, t):
        return self._interpolate(t, 0.5 * jnp.cumsum(jnp.log1p(-self.betas())))

    def alpha(self, t):
        return jnp.exp(self.log_alpha(t))

    def sigma(self, t):
        return jnp.sqrt(-jnp.expm1(2 * self.log_alpha(t)))


@dataclasses.dataclass(frozen=True)
class SMLDSchedule(_Table):
    """SMLD's noise levels (Song & Ermon 2019): sigma_i geometric, exactly VESDE's at the times t_i.

    The published networks for it are conditioned on the label N - 1 - i, largest noise first.

    Attributes:
      sigma_min, sigma_max: the first and the last sigma_i.
    """

    width_field = "sigma_max"
    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_order(self, "sigma_min", "sigma_max")

    @property
    def prior_std(self) -> float:
        return self.sigma_max * 1.0

    def alpha(self, t):
        return jnp.ones_like(t)

    def sigma(self, t):
        table = jnp.linspace(jnp.log(self.sigma_min), jnp.log(self.sigma_max), self.num_steps)
        return jnp.exp(self._interpolate(t, table))


@dataclasses.dataclass(frozen=True)
class HandwritingSchedule(Process):
    """Variance preserving, through levels l_i with any noise between them (Luhman & Luhman 2020,
    "Diffusion Models for Handwriting Generation", algorithm 1, after Chen et al. 2021, "WaveGrad").

        l_i^2 = prod_{j <= i} (1 - beta_j),   beta_j = offset + geometric from beta_min to beta_max
        alpha(i / N) = l_i,   l_0 = 1,        alpha linear between

    so that uniform times draw alpha uniformly between two neighbouring levels, which are themselves
    drawn uniformly. The chain ends at l_N = 0.132, not quite at noise; the numbers are those of the
    published code.

    Attributes:
      num_steps: N, how many levels there are beside l_0.
      offset, beta_min, beta_max: of beta_j.
      faithful: as the published code has it, alpha^2 is linear between levels, and t_min is 1 / N.
    """

    num_steps: int = 60
    offset: float = 0.02
    beta_min: float = 1e-5
    beta_max: float = 0.4
    faithful: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("num_steps", self.num_steps, 2, MOST_STEPS)
        _require_order(self, "beta_min", "beta_max")
        require(self.offset >= 0, "offset", self.offset, "0 or more")
        require(self.offset + self.beta_max < 1, "beta_max", self.beta_max, "below 1 - offset")
        if self.faithful:
            object.__setattr__(self, "t_min", max(self.t_min, 1 / self.num_steps))

    @property
    def prior_std(self) -> float:
        return 1.0

    def _lost(self) -> Float[np.ndarray, " n"]:
        """1 - l_i^2 for i = 0 .. N."""
        betas = self.offset + np.geomspace(self.beta_min, self.beta_max, self.num_steps)
        return np.concatenate([[0.0], -np.expm1(np.cumsum(np.log1p(-betas)))])

    def alpha(self, t):
        return 1 - self._fall(t)

    def _fall(self, t: Array) -> Array:
        """1 - alpha(t), with float32's digits also near t = 0."""
        levels = np.arange(self.num_steps + 1) / self.num_steps
        if self.faithful:
            lost = jnp.interp(t, levels, self._lost())
            return lost / (1 + jnp.sqrt(1 - lost))
        return jnp.interp(t, levels, self._lost() / (1 + np.sqrt(1 - self._lost())))

    def sigma(self, t):
        fall = self._fall(t)
        return jnp.sqrt(fall * (2 - fall))


PROCESSES: dict[str, type[Process]] = {
    "ve": VESDE,
    "vp": VPSDE,
    "subvp": SubVPSDE,
    "cosine": CosineVP,
    "edm": EDM,
    "flow": FlowMatching,
    "ddpm": DDPMSchedule,
    "smld": SMLDSchedule,
    "handwriting": HandwritingSchedule,
}
