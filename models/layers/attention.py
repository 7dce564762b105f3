"""Attention of the pixels of a feature map to one another and to tokens.

    attend(q, k, v) = softmax(q k^T / sqrt(c)) v                                            (1)

with one head and c channels (Vaswani et al. 2017, eq. 1).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from models.layers.convolution import dense
from models.layers.normalization import GroupNorm
from models.layers.residual import add_residual


class Tokens(NamedTuple):
    """Vectors to attend to. `mask` is 1 where there is a token, 0 in the padding; None: all are."""

    values: Float[Array, "b n d"]
    mask: Bool[Array, "b n"] | Int[Array, "b n"] | Float[Array, "b n"] | None = None

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
    """

    init_scale: float = 0.0
    skip_rescale: bool = False
    channels_per_group: int = 4
    dtype: DTypeLike = "float32"
    groups: int = 0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], tokens: Tokens | None = None
    ) -> Float[Array, "b h w c"]:
        batch, height, width, channels = x.shape
        fields: dict[str, Any] = {"dtype": self.dtype, "groups": self.groups}
        h = GroupNorm(self.channels_per_group, **fields, name="norm")(x)
        h = h.reshape(batch, height * width, channels)
        q, k, v = (
            dense(channels, init_scale=0.1, dtype=self.dtype, name=name)(h)
            for name in ("query", "key", "value")
        )
        h = dense(channels, init_scale=self.init_scale, dtype=self.dtype, name="out")(
            attend(q, k, v)
        )
        x = add_residual(x, h.reshape(x.shape), self.skip_rescale)
        if tokens is None:
            return x
        return CrossAttention(
            self.init_scale, self.skip_rescale, self.channels_per_group, self.dtype, name="cross"
        )(x, tokens)


class CrossAttention(nn.Module):
    """x + out(attend(q, k, v)) with q of x and k, v of tokens; fields as of `AttentionBlock`."""

    init_scale: float = 0.0
    skip_rescale: bool = False
    channels_per_group: int = 4
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], tokens: Tokens) -> Float[Array, "b h w c"]:
        batch, height, width, channels = x.shape
        h = GroupNorm(self.channels_per_group, dtype=self.dtype, name="norm")(x)
        q = dense(channels, init_scale=0.1, dtype=self.dtype, name="query")(
            h.reshape(batch, height * width, channels)
        )
        k, v = (
            dense(channels, init_scale=scale, dtype=self.dtype, name=name)(tokens.values)
            for name, scale in (("key", 0.1), ("value", 1.0))
        )
        real = None if tokens.mask is None else tokens.real
        h = dense(channels, init_scale=self.init_scale, dtype=self.dtype, name="out")(
            attend(q, k, v, real)
        )
        return add_residual(x, h.reshape(x.shape), self.skip_rescale)
