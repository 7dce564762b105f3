"""Attention of the pixels of a feature map to one another and to tokens.

    attend(q, k, v) = softmax(q k^T / sqrt(c)) v                                            (1)

with c channels (Vaswani et al. 2017, eq. 1). Tokens may have places along the width of the map;
attention to them then begins near these (`models.layers.places`), and both know where they are.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from models.layers.convolution import dense
from models.layers.embedding import positional_features
from models.layers.normalization import GroupNorm
from models.layers.padding import Mask, columns_of, real_at
from models.layers.places import Places, near, nearness_init
from models.layers.residual import add_residual

ALIGNMENT = "alignment"  # the weights of the attention to characters, in "intermediates"
FINENESS = 8.0  # features of a place tell parts of a character apart that are as small as 1 / this


class Tokens(NamedTuple):
    """Vectors to attend to.

    Attributes:
      mask: 1 where there is a token, 0 in the padding; None: all are.
      places: of the first tokens along the width of an image; None where none has one.
    """

    values: Float[Array, "b n d"]
    mask: Bool[Array, "b n"] | Int[Array, "b n"] | Float[Array, "b n"] | None = None
    places: Places | None = None

    @property
    def real(self) -> Bool[Array, "b n"]:
        """The mask, as a bool for each token."""
        if self.mask is None:
            return jnp.ones(self.values.shape[:2], bool)
        return self.mask > 0


def attend(
    q: Float[Array, "b i c"],
    k: Float[Array, "b j c"],
    v: Float[Array, "b j c"],
    real: Bool[Array, "b j"] | None = None,
) -> Float[Array, "b i c"]:
    """(1) over the keys where `real` holds, None for all; 0 for an example without any."""
    return jnp.einsum("bij,bjc->bic", attention_weights(q, k, real).astype(q.dtype), v)


def attention_weights(
    q: Float[Array, "b i c"],
    k: Float[Array, "b j c"],
    real: Bool[Array, "b j"] | None = None,
    bias: Float[Array, "b i j"] | float = 0.0,
) -> Float[Array, "b i j"]:
    """The softmax of (1), with a bias added inside, over the keys where `real` holds; float32."""
    logits = jnp.einsum("bic,bjc->bij", q, k).astype(jnp.float32) * q.shape[-1] ** -0.5 + bias
    if real is None:
        return jax.nn.softmax(logits)
    keys = real[:, None]
    return jnp.where(keys, jax.nn.softmax(jnp.where(keys, logits, -1e30)), 0.0)


def heads_of(x: Float[Array, "b n c"], count: int) -> Float[Array, "b_heads n d"]:
    """The channels of each of `count` heads, along the batch axis."""
    x = x.reshape(*x.shape[:2], count, -1)
    return jnp.moveaxis(x, 2, 1).reshape(-1, x.shape[1], x.shape[-1])


def join_heads(x: Float[Array, "b_heads n d"], count: int) -> Float[Array, "b n c"]:
    """The inverse of `heads_of`."""
    x = jnp.moveaxis(x.reshape(-1, count, *x.shape[1:]), 1, 2)
    return x.reshape(*x.shape[:2], -1)


class AttentionBlock(nn.Module):
    """x + out(attend(q, k, v)) with q, k, v of x; then the same with k, v of tokens, if there are.

    Each sum is divided by sqrt(2) if `skip_rescale`. channels_per_group, groups: see `GroupNorm`.
    cross_heads: of the attention to tokens; that of x to itself has one.
    """

    init_scale: float = 0.0
    skip_rescale: bool = False
    channels_per_group: int = 4
    dtype: DTypeLike = "float32"
    groups: int = 0
    cross_heads: int = 1

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        tokens: Tokens | None = None,
        real: Mask | None = None,
    ) -> Float[Array, "b h w c"]:
        """real: a padding mask, whose pixels are not attended to."""
        batch, height, width, channels = x.shape
        fields: dict[str, Any] = {"dtype": self.dtype, "groups": self.groups}
        h = GroupNorm(self.channels_per_group, **fields, name="norm")(x, real)
        h = h.reshape(batch, height * width, channels)
        q, k, v = (
            dense(channels, init_scale=0.1, dtype=self.dtype, name=name)(h)
            for name in ("query", "key", "value")
        )
        h = dense(channels, init_scale=self.init_scale, dtype=self.dtype, name="out")(
            attend(q, k, v, real_pixels(real, x.shape))
        )
        x = add_residual(x, h.reshape(x.shape), self.skip_rescale)
        if tokens is None:
            return x
        return CrossAttention(
            self.init_scale,
            self.skip_rescale,
            self.channels_per_group,
            self.dtype,
            self.cross_heads,
            name="cross",
        )(x, tokens, real)


def real_pixels(real: Mask | None, shape: tuple[int, ...]) -> Bool[Array, "b n"] | None:
    """Which pixels of a map of `shape`, row by row, are real; None for all."""
    if real is None:
        return None
    return jnp.broadcast_to(real_at(real, shape), (*shape[:-1], 1)).reshape(shape[0], -1)


class CrossAttention(nn.Module):
    """x + out(attend(q, k, v)) with q of x and k, v of tokens, by heads; fields as of
    `AttentionBlock`.

    Where tokens have places, features of these are added to what keys are of, and of its column to
    what a query is of; the mean weights of a column on these tokens are sown as ALIGNMENT.
    """

    init_scale: float = 0.0
    skip_rescale: bool = False
    channels_per_group: int = 4
    dtype: DTypeLike = "float32"
    num_heads: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], tokens: Tokens, real: Mask | None = None
    ) -> Float[Array, "b h w c"]:
        batch, height, width, channels = x.shape
        h = GroupNorm(self.channels_per_group, dtype=self.dtype, name="norm")(x, real)
        keys: Array = tokens.values
        bias: Array | float = 0.0
        if tokens.places is not None:
            at = (jnp.arange(width) + 0.5) / columns_of(real, x.shape)[:, None]
            h = h + _features(at / tokens.places.character[:, None], channels, h.dtype)[:, None]
            keys = _placed(tokens)
            bias = self._bias(tokens, tokens.places, at, height)
        q = dense(channels, init_scale=0.1, dtype=self.dtype, name="query")(
            h.reshape(batch, height * width, channels)
        )
        k = dense(channels, init_scale=0.1, dtype=self.dtype, name="key")(keys)
        v = dense(channels, dtype=self.dtype, name="value")(tokens.values)
        q, k, v = (heads_of(y, self.num_heads) for y in (q, k, v))
        seen = None if tokens.mask is None else jnp.repeat(tokens.real, self.num_heads, axis=0)
        weights = attention_weights(q, k, seen, bias)
        if tokens.places is not None:
            each = weights.reshape(batch, self.num_heads * height, width, -1)
            of_placed = each[..., : tokens.places.of.shape[1]]
            self.sow("intermediates", ALIGNMENT, jnp.mean(of_placed, axis=1))
        mixed = join_heads(jnp.einsum("bij,bjc->bic", weights.astype(q.dtype), v), self.num_heads)
        h = dense(channels, init_scale=self.init_scale, dtype=self.dtype, name="out")(mixed)
        return add_residual(x, h.reshape(x.shape), self.skip_rescale)

    def _bias(
        self, tokens: Tokens, places: Places, at: Float[Array, "b w"], height: int
    ) -> Float[Array, "b_heads i j"]:
        """Of columns at places `at`, for each head; 0 for tokens without a place."""
        nearness = self.param("nearness", nearness_init, (self.num_heads,))
        bias = near(places.distance(at), nearness)
        missing = tokens.values.shape[1] - places.of.shape[1]
        bias = jnp.pad(bias, ((0, 0), (0, 0), (0, 0), (0, missing)))
        return jnp.tile(bias, (1, 1, height, 1)).reshape(-1, height * at.shape[1], bias.shape[-1])


def _features(places: Float[Array, "b n"], size: int, dtype: DTypeLike) -> Float[Array, "b n c"]:
    """Features of places in characters."""
    features = positional_features(FINENESS * places.reshape(-1), size)
    return features.reshape(*places.shape, size).astype(dtype)


def _placed(tokens: Tokens) -> Float[Array, "b n d"]:
    """The values, with features of their places where they have one."""
    places, (_, count, width) = tokens.places, tokens.values.shape
    assert places is not None
    of = places.of / places.character[:, None]
    features = _features(of, width, tokens.values.dtype)
    return tokens.values + jnp.pad(features, ((0, 0), (0, count - of.shape[1]), (0, 0)))
