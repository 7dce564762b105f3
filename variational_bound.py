"""The variational bound of a discrete chain (Sohl-Dickstein et al. 2015; Ho et al. 2020, eq. 5).

A chain of T nodes, from the noisiest x_T to the least noisy x_1, generates by

    p(x_T) = N(0, prior_std^2),    p(x_s | x_t) = N(mean(x_t, x_0_hat), v_t),    p(x_0 | x_1)   (1)

t and s neighbours, mean and its variance those of the posterior q(x_s | x_t, x_0)
(`sde_lib.posterior_of`), x_0_hat the prediction at x_t. Then

    -log p(x_0) <= L_T + sum_t L_{t-1} + L_0                                                   (2)
    L_T     = KL(q(x_T | x_0) || p(x_T))
    L_{t-1} = E_{q(x_t | x_0)} KL(q(x_s | x_t, x_0) || p(x_s | x_t))
    L_0     = -E_{q(x_1 | x_0)} log p(x_0 | x_1)

with the expectations by one draw of x_t for each term. v_t is the posterior's variance ("small"),
that of q(x_t | x_s) ("large"), or what lies between them by the network's own say ("learned",
Nichol & Dhariwal 2021, eq. 15). p(x_0 | x_1) has the mean x_0_hat and the variance sigma_1^2, or if
learned one between that and the posterior's in the step before. Of grey levels it is the mass of
this Gaussian on the level of x_0 (Ho et al. 2020, eq. 13), so that data are not dequantised.

All of it is of (alpha, sigma) at the nodes, of any process and any predictor.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, Int, Key

from options.choices import choose, require
from options.errors import InvalidValue
from options.progress import Progress
from parameterization import MASK, NO_COND, Cond, Prediction, Predictor, as_predictor, zero_padding
from sde_lib import (
    Node,
    Process,
    example_sum,
    expand_right,
    learned_log_variance,
    posterior_of,
)


def _learned(found: Prediction) -> Array:
    if found.variance is None:
        raise InvalidValue("variance", "learned", but="the model predicts none")
    return found.variance


# Where log v_t lies between that of the posterior, 0, and that of q(x_t | x_s), 1.
VARIANCES: dict[str, Callable[[Prediction], Array]] = {
    "small": lambda found: jnp.zeros_like(found.x_0),
    "large": lambda found: jnp.ones_like(found.x_0),
    "learned": _learned,
}
OF_DECODER = VARIANCES | {"small": VARIANCES["large"]}  # the posterior's is 0 at the clean node


def gaussian_kl(
    square: Float[Array, "..."], log_q: Float[Array, "..."], log_p: Float[Array, "..."]
) -> Float[Array, "..."]:
    """KL(N(m, q) || N(m', p)) in nats; square: (m - m')^2, and the logarithms of q and p, which
    broadcast against it."""
    return 0.5 * (square * jnp.exp(-log_p) + jnp.expm1(log_q - log_p) - (log_q - log_p))


@runtime_checkable
class Decoder(Protocol):
    """p(x_0 | x_1), given its mean and variance."""

    def log_prob(
        self,
        x_0: Float[Array, "b *shape"],
        mean: Float[Array, "b *shape"],
        log_variance: Float[Array, "b *shape"],
    ) -> Float[Array, "b *shape"]:
        """log p of each coordinate, in nats."""
        ...


@dataclasses.dataclass(frozen=True)
class GaussianDecoder:
    """The density of N(mean, variance), for real numbers."""

    def log_prob(self, x_0: Array, mean: Array, log_variance: Array) -> Array:
        square = (x_0 - mean) ** 2 * jnp.exp(-log_variance)
        return -0.5 * (square + log_variance + math.log(2 * math.pi))


@dataclasses.dataclass(frozen=True)
class DiscretizedGaussian:
    """The mass of N(mean, variance) within half a grey level of x_0 (Ho et al. 2020, eq. 13); the
    lowest and the highest level reach to infinity.

    Attributes:
      low, high: the range of the pixels, 256 grey levels from one to the other.
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        require(self.low < self.high, "low", self.low, f"less than high = {self.high}")

    def log_prob(self, x_0: Array, mean: Array, log_variance: Array) -> Array:
        half = (self.high - self.low) / 255 / 2
        # The mass is that between two points of the lower tail, where float32 has digits.
        side = jnp.where(x_0 < self.low + half, 1.0, jnp.where(x_0 > self.high - half, -1.0, 0.0))
        away, scale = x_0 - mean, jnp.exp(log_variance / 2)
        centre = jnp.where(side == 0, -jnp.abs(away), side * away)
        upper = log_ndtr((centre + half) / scale)
        below = upper - log_ndtr((centre - half) / scale)
        between = jnp.log(-jnp.expm1(-jnp.maximum(below, 1e-7)))
        return upper + jnp.where(side == 0, between, 0.0)


def prior_term(
    process: Process, x_0: Float[Array, "b *shape"], first: Node
) -> Float[Array, "b *shape"]:
    """L_T of each coordinate; `first` is the noisiest node, of fields ()."""
    log_q, log_p = jnp.log(first.sigma), jnp.log(process.prior_std_at(first.t))
    return gaussian_kl((first.alpha * x_0) ** 2, 2 * log_q, 2 * log_p)


def step_term(
    found: Prediction, x_0: Float[Array, "b *shape"], end: Node, variance: str = "small"
) -> Float[Array, "b *shape"]:
    """L_{t-1} of each coordinate, for one x_t: that of the step from the prediction's node to
    `end`, fields (batch,)."""
    start, posterior = found.node, posterior_of(found.node, end)
    log_q = expand_right(jnp.log(posterior.variance), x_0)
    log_p = learned_log_variance(VARIANCES[variance](found), start, end)
    return gaussian_kl((expand_right(posterior.x_0, x_0) * (x_0 - found.x_0)) ** 2, log_q, log_p)


def decoder_log_variance(
    v: Float[Array, "b *shape"], before: Node, last: Node
) -> Float[Array, "b *shape"]:
    """log v_1 for a learned v: v of it that of sigma_1^2, the rest the posterior's of the step from
    `before` to `last`."""
    small = learned_log_variance(jnp.zeros_like(v), before, last)
    return v * expand_right(2 * jnp.log(last.sigma), v) + (1 - v) * small


class ChainBound(NamedTuple):
    """The terms of (2) in nats, each summed over the (real) coordinates of an example.

    Attributes:
      prior: L_T, (batch,).
      steps: L_{T-1} .. L_1 in the order in which the chain generates, (batch, T - 1).
      decoder: L_0, (batch,).
    """

    prior: Float[Array, " b"]
    steps: Float[Array, "b n"]
    decoder: Float[Array, " b"]

    @property
    def total(self) -> Float[Array, " b"]:
        """The bound on -log p(x_0)."""
        return self.prior + jnp.sum(self.steps, axis=1) + self.decoder


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """The chain (1) of a process.

    Attributes:
      grid: its T nodes, each less noisy than the one before, fields (T,); at the last one sigma
        must not be 0, and that to the data should be no longer a step than the others.
        `grids.uniform_grid` of N - 1 steps has the N levels of a discrete schedule.
      variance: v_t, a name of `VARIANCES`.
      decoder: p(x_0 | x_1).
    """

    process: Process
    grid: Node
    variance: str = "small"
    decoder: Decoder = GaussianDecoder()

    def __post_init__(self) -> None:
        choose(VARIANCES, self.variance, "variance")
        require(len(self.grid.t) >= 2, "grid", len(self.grid.t), "at least two nodes")
        noisy = float(self.grid.sigma[-1]) > 0
        require(noisy, "grid", "an end without noise", "a noisy last node, x_1")
        ratio = self.grid.alpha / self.grid.sigma
        falls = bool((ratio[1:] > ratio[:-1]).all())
        require(falls, "grid", "a node as noisy as the one before", "noise that falls at each node")

    def places(self) -> list["Place"]:
        """Where its T terms are."""
        grid = self.grid
        ends = Node(*(jnp.append(field[1:], field[-1:]) for field in grid))
        befores = Node(*(jnp.append(field[:1], field[:-1]) for field in grid))
        return [
            Place(jnp.int32(i), *(Node(*(f[i] for f in nodes)) for nodes in (grid, ends, befores)))
            for i in range(len(grid.t))
        ]


class Place(NamedTuple):
    """A term's number, from 0 on, its node, and the nodes after and before it in the chain."""

    number: Int[Array, ""]
    node: Node
    end: Node
    before: Node


def chain_bound(
    keys: Key[Array, " b"],
    chain: Chain,
    predict: Predictor,
    x_0: Float[Array, "b *shape"],
    *,
    cond: Cond = NO_COND,
    progress: Progress | None = None,
) -> ChainBound:
    """The bound (2) on -log p of each example, by T evaluations of the predictor.

    Args:
      keys: one an example; the draw of a term depends on this and on its number alone.
      x_0: data in the process's range.
      cond: conditioning with a leading batch axis, a padding mask included.
      progress: called with the number of terms that are done, and of all.

    Raises:
      InvalidValue: the variances are to be learned ones, and the model predicts none.
    """
    predict, mask, places = as_predictor(predict), cond.get(MASK), chain.places()
    terms = []
    for place in places:
        decoder = chain.decoder if place is places[-1] else None
        terms.append(_term(predict, x_0, keys, place, dict(cond), chain.variance, decoder))
        if progress is not None:
            terms[-1].block_until_ready()
            progress(len(terms), len(places))
    prior = example_sum(prior_term(chain.process, x_0, places[0].node), mask)
    return ChainBound(prior, jnp.stack(terms[:-1], axis=1), terms[-1])


@functools.partial(jax.jit, static_argnames=("variance", "decoder"))
def _term(
    predict: Predictor,
    x_0: Array,
    keys: Array,
    place: Place,
    cond: Cond,
    variance: str,
    decoder: Decoder | None,
) -> Float[Array, " b"]:
    """L_{t-1} of the step from a place; with a decoder L_0, the place being the last one."""
    node, end, before = jax.tree.map(lambda field: jnp.broadcast_to(field, len(x_0)), place[1:])
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, place.number)
    eps = jax.vmap(lambda key: jax.random.normal(key, x_0.shape[1:]))(keys)
    alpha, sigma = expand_right(node.alpha, x_0), expand_right(node.sigma, x_0)
    found = predict(zero_padding(alpha * x_0 + sigma * eps, cond), node, cond)
    if decoder is None:
        values = step_term(found, x_0, end, variance)
    else:
        log_variance = decoder_log_variance(OF_DECODER[variance](found), before, node)
        values = -decoder.log_prob(x_0, found.x_0, log_variance)
    return example_sum(values, cond.get(MASK))


def lower(
    predict: Predictor, x_0: Any, keys: Key[Array, " b"], cond: Cond, variance: str
) -> jax.stages.Lowered:
    """The program of a term with these arguments, of which x_0 and cond may be mere shapes."""
    node = Node(*jnp.ones(3))
    place = Place(jnp.int32(0), node, node, node)
    return _term.lower(as_predictor(predict), x_0, keys, place, dict(cond), variance, None)
