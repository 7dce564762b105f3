"""A network for sequences of different lengths, padded to one: convolutions and self-attention.

    h_0     = dense(x) + features of the position
    h_{i+1} = attention_i(block_i(h_i, embedding of the noise level and the conditions))
    output  = dense(act(norm(h_last))),  0 in the padding

Conditions come in by the ways of `layers.conditioning`: channels beside those of x, and tokens that
every block attends to.

The padding is set to zero before every convolution, which pads the ends by zeros alike, and no
position attends to it; norms are over the channels of one position. So outputs at real positions
depend neither on what stands in the padding nor on how much of it there is.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from models.layers.activation import ACTIVATIONS, DTYPES
from models.layers.attention import Tokens, attend, heads_of, join_heads
from models.layers.conditioning import Embedding, check_names
from models.layers.convolution import Conv1D, dense
from models.layers.dropout import dropout, fold_keys
from models.layers.embedding import NOISE_FEATURES, positional_features
from models.sizes import check_channels
from options.choices import choose, require, require_at_least_one, require_fraction
from options.errors import InvalidValue, Words
from options.fields import hidden


class SequenceNetwork(nn.Module):
    """Residual convolutions and attention, for sequences.

    x: (b, length, channels), standardised by the caller -> (b, length, out_channels), float32.

    Attributes:
      nf: channels of every layer.
      num_blocks: residual blocks, each of two convolutions.
      kernel_size: of the convolutions, odd.
      num_heads: of the self-attention behind every block; a divisor of nf; 0 for no attention.
      dropout: rate, in every block.
      embedding_type: of c_noise, "fourier" (log sigma) or "positional" (999 t).
      fourier_scale: standard deviation of the Fourier frequencies.
      nonlinearity: "swish", "elu", "relu" or "lrelu".
      conditions: see `tasks.conditions.Condition`.
      out_channels: channels of the output; 0 for as many as the input has.
      dtype: "float32" or "bfloat16", of the computation; parameters and output are float32.
    """

    nf: int = 64
    num_blocks: int = 4
    kernel_size: int = 5
    num_heads: int = 4
    dropout: float = 0.0
    embedding_type: str = "fourier"
    fourier_scale: float = 16.0
    nonlinearity: str = "swish"
    conditions: tuple[Any, ...] = hidden(())
    out_channels: int = hidden(0)
    dtype: str = hidden("float32")

    def check(self, *shape: int) -> None:
        """InvalidValue for options that cannot work, or examples of another shape than (length,).

        shape: of an example, without its channels.
        """
        choose(NOISE_FEATURES, self.embedding_type, "embedding_type")
        choose(ACTIVATIONS, self.nonlinearity, "nonlinearity")
        choose(DTYPES, self.dtype, "dtype")
        require(self.nf >= 4 and self.nf % 2 == 0, "nf", self.nf, "an even number from 4 on")
        require_at_least_one(self, "nf", "num_blocks", "kernel_size")
        require(self.kernel_size % 2 == 1, "kernel_size", self.kernel_size, "an odd number")
        divides = self.num_heads == 0 or (self.num_heads > 0 and self.nf % self.num_heads == 0)
        require(divides, "num_heads", self.num_heads, f"0 or a divisor of nf = {self.nf}")
        require_fraction(self, "dropout")
        check_names(self.conditions)
        if len(shape) != 1:
            got = Words(f"a network for sequences (length, channels), and examples of {shape}")
            raise InvalidValue("name", got, "a network for examples of that rank")

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b length c"],
        c_noise: Float[Array, "b"],
        *,
        mask: Bool[Array, "b length 1"] | Float[Array, "b length 1"] | None = None,
        dropout_keys: Key[Array, "b"] | None = None,
        **cond: Any,
    ) -> Float[Array, "b length d"]:
        """mask: 1 where x is real, None for everywhere. keys switch dropout on.

        cond: values of the conditions by name; one that is absent is its null.
        """
        act = ACTIVATIONS[self.nonlinearity]
        real = jnp.ones((*x.shape[:2], 1), bool) if mask is None else mask > 0
        kind = NOISE_FEATURES[self.embedding_type]
        features = kind.features(c_noise, self.nf, self.fourier_scale)
        embed = Embedding(4 * self.nf, act, self.conditions, self.dtype, name="embedding")
        embedding, more_channels, tokens = embed(features, cond, x.shape[1:], len(x))
        assert embedding is not None
        out_channels = self.out_channels or x.shape[-1]
        if more_channels is not None:
            x = jnp.concatenate([x, more_channels], axis=-1)

        positions = positional_features(jnp.arange(x.shape[1], dtype=jnp.float32), self.nf)
        x_real = jnp.where(real, x, 0).astype(self.dtype)
        check_channels(self, "in", x_real)
        h = dense(self.nf, dtype=self.dtype, name="in")(x_real) + positions.astype(self.dtype)
        for number in range(self.num_blocks):
            keys = fold_keys(dropout_keys, number)
            block = SequenceBlock(
                self.kernel_size, act, self.dropout, self.dtype, name=f"block_{number}"
            )
            h = block(h, real, embedding, keys)
            if self.num_heads:
                attention = Attention(self.num_heads, self.dtype, name=f"attention_{number}")
                h = attention(h, real)
            if tokens is not None:
                cross = Attention(self.num_heads or 1, self.dtype, name=f"cross_{number}")
                h = cross(h, real, tokens)
        h = act(nn.LayerNorm(dtype=self.dtype, name="norm_out")(h))
        y = dense(out_channels, init_scale=0.0, dtype=self.dtype, name="out")(h)
        return jnp.where(real, y, 0).astype(jnp.float32)


class SequenceBlock(nn.Module):
    """h + conv(act(norm(conv(act(norm(h))) + embedding))), the padding 0 before a convolution."""

    kernel_size: int
    act: Callable[[Array], Array]
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        h: Float[Array, "b length c"],
        real: Bool[Array, "b length 1"],
        embedding: Float[Array, "b d"],
        dropout_keys: Key[Array, "b"] | None,
    ) -> Float[Array, "b length c"]:
        width = h.shape[-1]

        def convolve(h: Array, number: int, init_scale: float, keys: Array | None) -> Array:
            h = self.act(nn.LayerNorm(dtype=self.dtype, name=f"norm_{number}")(h))
            h = dropout(jnp.where(real, h, 0), self.dropout, keys)
            name = f"conv_{number}"
            return Conv1D(width, self.kernel_size, init_scale, self.dtype, name=name)(h)

        shift = dense(width, dtype=self.dtype, name="embedding")(self.act(embedding))
        inner = convolve(h, 0, 1.0, None) + shift[:, None]
        return h + convolve(inner, 1, 0.0, dropout_keys)


class Attention(nn.Module):
    """h + out(attend(q, k, v)) with heads of c / num_heads channels: q of h, and k, v of its real
    positions, or of tokens where they are given."""

    num_heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        h: Float[Array, "b length c"],
        real: Bool[Array, "b length 1"],
        tokens: Tokens | None = None,
    ) -> Float[Array, "b length c"]:
        width, count = h.shape[-1], self.num_heads
        normed = nn.LayerNorm(dtype=self.dtype, name="norm")(h)
        seen = Tokens(normed, real[..., 0]) if tokens is None else tokens

        def heads(name: str, of: Array) -> Float[Array, "b_heads n d"]:
            return heads_of(dense(width, dtype=self.dtype, name=name)(of), count)

        q, k, v = heads("query", normed), heads("key", seen.values), heads("value", seen.values)
        mixed = join_heads(attend(q, k, v, jnp.repeat(seen.real, count, axis=0)), count)
        return h + dense(width, init_scale=0.0, dtype=self.dtype, name="out")(mixed)
