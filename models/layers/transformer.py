"""Transformer blocks between the convolutions of a U-Net (Rombach et al. 2022, section 3.3).

h = h + out(attend(q, k, v))      q, k, v of norm(h), by heads                          (1)
h = h + out(attend(q, k, v))      q of norm(h), k and v of the tokens                   (2)
h = h + contract(a gelu(b))       [a, b] = expand(norm(h))   (Shazeer 2020, GEGLU)      (3)
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float

from models.layers.attention import Tokens, attend, heads_of, join_heads, real_pixels
from models.layers.convolution import dense
from models.layers.normalization import GroupNorm
from models.layers.padding import Mask

EXPANSION = 4  # channels of a and of b, for each of h
EPSILON = 1e-5  # of the norms of (1) to (3)


class HeadsAttention(nn.Module):
    """out(attend(q, k, v)) by heads; only `out` has a bias."""

    num_heads: int
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(
        self,
        h: Float[Array, "b n c"],
        seen: Float[Array, "b m d"],
        real: Bool[Array, "b m"] | None = None,
    ) -> Float[Array, "b n c"]:
        """seen: what keys and values are of; real: which of it there is, None for all."""
        width = h.shape[-1]

        def heads(name: str, of: Array) -> Array:
            layer = nn.Dense(width, use_bias=False, dtype=self.dtype, name=name)
            return heads_of(layer(of), self.num_heads)

        q, k, v = heads("query", h), heads("key", seen), heads("value", seen)
        of_heads = None if real is None else jnp.repeat(real, self.num_heads, axis=0)
        joined = join_heads(attend(q, k, v, of_heads), self.num_heads)
        return dense(width, dtype=self.dtype, name="out")(joined)


class TransformerLayer(nn.Module):
    """(1), (2) and (3); without tokens, (1) and (3). real: of h, which (1) sees; None for all."""

    num_heads: int
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(
        self,
        h: Float[Array, "b n c"],
        tokens: Tokens | None,
        real: Bool[Array, "b n"] | None = None,
    ) -> Float[Array, "b n c"]:
        def norm(name: str) -> nn.LayerNorm:
            return nn.LayerNorm(EPSILON, use_fast_variance=False, dtype=self.dtype, name=name)

        def attention(name: str) -> HeadsAttention:
            return HeadsAttention(self.num_heads, self.dtype, name=name)

        own = norm("norm_0")(h)
        h = h + attention("self")(own, own, real)
        if tokens is not None:
            seen = None if tokens.mask is None else tokens.real
            h = h + attention("cross")(norm("norm_1")(h), tokens.values, seen)
        width = h.shape[-1]
        expanded = dense(2 * EXPANSION * width, dtype=self.dtype, name="expand")(norm("norm_2")(h))
        a, b = jnp.split(expanded, 2, axis=-1)
        gated = a * nn.gelu(b, approximate=False)
        return h + dense(width, dtype=self.dtype, name="contract")(gated)


class SpatialTransformer(nn.Module):
    """x + leave(layers(enter(norm(x)))), of the pixels of a feature map.

    Attributes:
      num_heads: of attention, a divisor of the channels.
      depth: layers, one after another.
      groups: of the norm.
    """

    num_heads: int
    depth: int = 1
    groups: int = 32
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        tokens: Tokens | None = None,
        real: Mask | None = None,
    ) -> Float[Array, "b h w c"]:
        """real: a padding mask, whose pixels are not attended to."""
        batch, height, width, channels = x.shape
        seen = real_pixels(real, x.shape)
        h = GroupNorm(groups=self.groups, dtype=self.dtype, name="norm")(x, real)
        h = dense(channels, dtype=self.dtype, name="enter")(h)
        h = h.reshape(batch, height * width, channels)
        for i in range(self.depth):
            h = TransformerLayer(self.num_heads, self.dtype, name=f"layer_{i}")(h, tokens, seen)
        h = dense(channels, init_scale=0.0, dtype=self.dtype, name="leave")(h)
        return x + h.reshape(x.shape)
