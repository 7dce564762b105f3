"""The network of Luhman & Luhman 2020, "Diffusion Models for Handwriting Generation": movements of
a pen, from a text in a style. The figures of the paper are not in its text; layers are those of the
published code.

    text    e = norm(embed(text)),  e = norm(e + attend(e, style, style)),  e = norm(ff(e))
    down    convolutions and attention at each resolution, half the length of the one before
    up      nearest neighbours, a convolution of what stood at that resolution on the way down
    out     the noise of (dx, dy), and the log odds that the pen is up

Every norm is one of each position without parameters, followed by an affine map whose scale and
shift come from the noise level. Attention is to the text first, then to the strokes, with features
of the position added to queries and keys.

The padding is 0 before every convolution, is not averaged and not attended to, so that outputs at
real points depend neither on what stands in the padding nor on how much of it there is.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int, Key

from models.layers.activation import DTYPES
from models.layers.attention import (
    ALIGNMENT,
    Tokens,
    attention_weights,
    heads_of,
    join_heads,
)
from models.layers.conditioning import TEXT, Embedding, check_names, value_of
from models.layers.convolution import Conv1D, dense
from models.layers.dropout import dropout
from models.layers.embedding import positional_features
from models.layers.places import Places, expected_places, near, nearness_init
from models.sizes import check_channels
from options.choices import choose, require, require_at_least_one, require_fraction
from options.errors import InvalidValue, Words
from options.fields import hidden
from parameterization import NetworkOutput

STYLE = "style"  # beside the text, the condition that it knows by name


class HandwritingNetwork(nn.Module):
    """x (b, length, 2), alpha of the noise level (b,) -> output like x, and "pen" (b, length, 1),
    the log odds that the pen travels above the paper to that point.

    With its own values and 73 characters it has the published 10,028,451 parameters. Conditions are
    "text", and any others by their encoders: tokens are attended to by the text, vectors added to
    the features of the noise level.

    Attributes:
      widths: channels at each resolution, the first that of the points, the last the middle.
      heads: of the attention at each resolution; 0 for none.
      middle: attention blocks in the middle.
      text_width: channels of the encoder of the text. text_heads: of its attention.
      noise_width: of the hidden layer for the noise level. noise_features: how many it gives.
      scale_strokes: positions of strokes rather than those of the text are multiplied, as in the
        published code, so that both go alike; the paper multiplies those of the text.
      expected_places: characters are placed where `points` expects them, and the attention to the
        text begins as one to the nearest of them; positions are then not multiplied.
      dropout: rate, of the features of style.
      points: how many points each token takes, the first that of no character; for
        `expected_places`.
      conditions: see `tasks.conditions.Condition`.
      dtype: "float32" or "bfloat16", of the computation; parameters and output are float32.
    """

    widths: tuple[int, ...] = (128, 192, 256, 384)
    heads: tuple[int, ...] = (0, 3, 4, 6)
    middle: int = 2
    text_width: int = 384
    text_heads: int = 8
    noise_width: int = 2048
    noise_features: int = 32
    scale_strokes: bool = False
    expected_places: bool = False
    dropout: float = 0.3
    points: tuple[float, ...] = hidden(())
    conditions: tuple[Any, ...] = hidden(())
    dtype: str = hidden("float32")

    @property
    def divisor(self) -> int:
        """What lengths must be multiples of."""
        return 2 ** (len(self.widths) - 1)

    def check(self, *shape: int) -> None:
        """InvalidValue for options that cannot work, or examples of another shape than (n,)."""
        choose(DTYPES, self.dtype, "dtype")
        require_fraction(self, "dropout")
        require_at_least_one(self, "middle", "text_width", "text_heads", "noise_width")
        require_at_least_one(self, "noise_features")
        require(len(self.widths) >= 2, "widths", self.widths, "two or more")
        require(min(self.widths) >= 2, "widths", self.widths, "numbers from 2 on")
        alike = len(self.heads) == len(self.widths)
        require(alike, "heads", self.heads, f"as many as widths, {len(self.widths)}")
        pairs = [*zip(self.widths, self.heads, strict=True), (self.text_width, self.text_heads)]
        for width, count in pairs:
            divides = count == 0 or (count > 0 and width % count == 0)
            require(divides, "heads", count, f"0 or a divisor of the width {width}")
        known = len(self.points) > 0 or not self.expected_places
        require(known, "points", self.points, "those of each token, since places are expected")
        check_names(self.conditions)
        names = [condition.name for condition in self.conditions]
        require(TEXT in names, "conditions", names, f"{TEXT!r} among them")
        if len(shape) != 1:
            got = Words(f"a network for sequences (length, channels), and examples of {shape}")
            raise InvalidValue("name", got, "a network for examples of that rank")
        but = f"the network halves it {len(self.widths) - 1} times"
        fits = shape[0] % self.divisor == 0
        require(fits, "length", shape[0], f"a multiple of {self.divisor}: {but}")

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b length 2"],
        c_noise: Float[Array, "b"],
        *,
        mask: Bool[Array, "b length 1"] | Float[Array, "b length 1"] | None = None,
        dropout_keys: Key[Array, "b"] | None = None,
        **cond: Any,
    ) -> NetworkOutput:
        """mask: 1 where x is real, None for everywhere. keys switch dropout on.

        cond: values of the conditions by name; one that is absent is its null.
        """
        check_channels(self, "in", x)
        real = jnp.ones((*x.shape[:2], 1), bool) if mask is None else mask > 0
        level, text = self._encoded(x, c_noise, cond, dropout_keys)

        places = self._places(cond, x, real) if self.expected_places else None
        h = dense(self.widths[0], dtype=self.dtype, name="in")(jnp.where(real, x, 0))
        kept, last = [], len(self.widths) - 1
        for i, width in enumerate(self.widths[:-1]):
            h = ConvolutionBlock(width, self.dtype, name=f"down_{i}")(h, real, level)
            if self.heads[i]:
                at = self._positions(text, places, i)
                block = AttentionBlock(self.heads[i], self.dtype, name=f"attend_{i}")
                h = block(h, real, text, level, at)
            kept.append((h, real))
            h, real = halved(h, real)
        h = dense(self.widths[-1], dtype=self.dtype, name="middle")(h)
        for number in range(self.middle if self.heads[-1] else 0):
            at = self._positions(text, places, last)
            block = AttentionBlock(self.heads[-1], self.dtype, name=f"middle_{number}")
            h = block(h, real, text, level, at)
        for i in reversed(range(last)):
            skip, real = kept[i]
            h = jnp.repeat(h, 2, axis=1)
            across = Conv1D(self.widths[i + 1], dtype=self.dtype, name=f"skip_{i}")
            h = h + across(jnp.where(real, skip, 0))
            h = ConvolutionBlock(self.widths[i], self.dtype, name=f"up_{i}")(h, real, level)
        eps = dense(x.shape[-1], init_scale=0.0, dtype=self.dtype, name="out")(h)
        pen = dense(1, init_scale=0.0, dtype=self.dtype, name="pen")(h)
        zero = lambda y: jnp.where(real, y, 0).astype(jnp.float32)  # noqa: E731
        return NetworkOutput(zero(eps), {"pen": zero(pen)})

    def _places(
        self, cond: dict[str, Any], x: Array, real: Bool[Array, "b n 1"]
    ) -> tuple[Float[Array, "b k"], Float[Array, "b"]]:
        """Where each character is expected, in points, and how many points one takes."""
        (condition,) = (c for c in self.conditions if c.name == TEXT)
        tokens = value_of(condition, cond, x.shape[1:], len(x))
        places = expected_places(tokens, self.points)
        length = jnp.sum(real, axis=1).astype(jnp.float32)
        return places.of * length, places.character * length[:, 0]

    def _positions(self, text: Tokens, places: Any, level: int) -> "Positions":
        """Of strokes and text at a resolution."""
        if places is not None:
            return Positions(float(2**level), *places)
        factor = 2 ** (len(self.widths) - 1 - level)
        of_text, of_strokes = (1, factor) if self.scale_strokes else (factor, 1)
        steps = of_text * jnp.arange(text.values.shape[1], dtype=jnp.float32)
        return Positions(float(of_strokes), jnp.broadcast_to(steps, text.values.shape[:2]))

    def _encoded(
        self, x: Array, c_noise: Array, cond: dict[str, Any], dropout_keys: Array | None
    ) -> tuple[Float[Array, "b f"], Tokens]:
        """Features of the noise level, and the text in its style."""
        batch, shape = len(x), x.shape[1:]
        hidden_layer = dense(self.noise_width, dtype=self.dtype, name="noise_0")
        level = nn.swish(hidden_layer(c_noise[:, None].astype(self.dtype)))
        level = dense(self.noise_features, dtype=self.dtype, name="noise_1")(level)

        (condition,) = (c for c in self.conditions if c.name == TEXT)
        tokens: Int[Array, "b n"] = value_of(condition, cond, shape, batch)
        others = tuple(c for c in self.conditions if c.name != TEXT)
        given = {name: value for name, value in cond.items() if name != TEXT}
        if STYLE in given:
            given[STYLE] = dropout(given[STYLE], self.dropout, dropout_keys)
        found = Encodings(self.text_width, self.noise_features, others, self.dtype, name="cond")(
            given, shape, batch
        )
        level = level if found.embedding is None else level + found.embedding
        table = nn.Embed(condition.size, self.text_width, dtype=self.dtype, name="characters")
        text = Norm(self.dtype, name="norm_characters")(table(tokens), level)
        if found.tokens is not None:
            style = Norm(self.dtype, name="norm_style")(found.tokens.values, level)
            attended, _ = MultiHeadAttention(self.text_heads, self.dtype, name="attend_style")(
                text, style, style, found.tokens.real
            )
            text = Norm(self.dtype, name="norm_attended")(text + attended, level)
        text = FeedForward(2, self.dtype, name="ff_text")(text)
        return level, Tokens(Norm(self.dtype, name="norm_text")(text, level), tokens > 0)


class Positions(NamedTuple):
    """Where strokes and characters are, in the same unit.

    Attributes:
      step: from one position of the strokes to the next.
      text: of each character. character: how far apart characters are, where their places are
        expected ones; None where they are but numbers.
    """

    step: float
    text: Float[Array, "b k"]
    character: Float[Array, "b"] | None = None

    def distance(self, count: int) -> Float[Array, "b n k"]:
        """Of `count` positions of the strokes to the characters, in characters."""
        assert self.character is not None
        strokes = jnp.broadcast_to(self.step * (jnp.arange(count) + 0.5), (len(self.text), count))
        return Places(self.text, self.character).distance(strokes)


class Encodings(nn.Module):
    """Conditions by their encoders: tokens of `width`, and one vector of `features`."""

    width: int
    features: int
    conditions: tuple[Any, ...]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, cond: dict[str, Any], shape: tuple[int, ...], batch: int) -> Any:
        embed = Embedding(self.width, nn.swish, self.conditions, self.dtype, name="encoders")
        found = embed(None, cond, shape, batch)
        if found.embedding is None:
            return found
        return found._replace(
            embedding=dense(self.features, dtype=self.dtype, name="features")(found.embedding)
        )


def halved(
    h: Float[Array, "b n c"], real: Bool[Array, "b n 1"]
) -> tuple[Float[Array, "b m c"], Bool[Array, "b m 1"]]:
    """The means over pairs of positions, of those that are real; and where there is one."""
    pairs = lambda y: y.reshape(len(y), -1, 2, y.shape[-1])  # noqa: E731
    total = jnp.sum(pairs(jnp.where(real, h, 0)), axis=2)
    count = jnp.sum(pairs(real), axis=2)
    return (total / jnp.maximum(count, 1)).astype(h.dtype), count > 0


class Affine(nn.Module):
    """x * (1 + a) + b, with a and b linear in the features of the noise level."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"], level: Float[Array, "b f"]) -> Array:
        width = x.shape[-1]
        scale = dense(width, dtype=self.dtype, name="scale")(level)
        shift = dense(width, dtype=self.dtype, name="shift")(level)
        return x * (1 + scale[:, None]) + shift[:, None]


class Norm(nn.Module):
    """Each position to mean 0 and variance 1 over its channels, then `Affine`."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"], level: Float[Array, "b f"]) -> Array:
        norm = nn.LayerNorm(use_bias=False, use_scale=False, dtype=self.dtype)
        return Affine(self.dtype, name="affine")(norm(x), level)


class FeedForward(nn.Module):
    """dense(swish(dense(swish(x)))), with `factor` times the channels between."""

    factor: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        width = x.shape[-1]
        h = nn.swish(dense(self.factor * width, dtype=self.dtype, name="dense_0")(nn.swish(x)))
        return dense(width, dtype=self.dtype, name="dense_1")(h)


class ConvolutionBlock(nn.Module):
    """Two convolutions and a dense layer, each with swish before and `Affine` behind, beside a
    convolution of the input."""

    width: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, h: Float[Array, "b n c"], real: Bool[Array, "b n 1"], level: Float[Array, "b f"]
    ) -> Float[Array, "b n d"]:
        def convolved(h: Array, width: int, name: str) -> Array:
            return Conv1D(width, dtype=self.dtype, name=name)(jnp.where(real, h, 0))

        def affine(h: Array, number: int) -> Array:
            return Affine(self.dtype, name=f"affine_{number}")(h, level)

        y = affine(convolved(nn.swish(h), self.width // 2, "conv_0"), 0)
        y = affine(convolved(nn.swish(y), self.width, "conv_1"), 1)
        y = affine(dense(self.width, dtype=self.dtype, name="dense")(nn.swish(y)), 2)
        return y + convolved(h, self.width, "skip")


class AttentionBlock(nn.Module):
    """Attention to the text, self-attention, and a feed-forward layer, each a residual and a norm.

    Where the places of characters are expected ones, the attention to the text begins as a Gaussian
    about them, NEAR characters wide, whose width each head learns.
    """

    num_heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        h: Float[Array, "b n c"],
        real: Bool[Array, "b n 1"],
        text: Tokens,
        level: Float[Array, "b f"],
        at: Positions,
    ) -> Float[Array, "b n c"]:
        count, width = h.shape[1:]

        def norm(h: Array, name: str) -> Array:
            return Norm(self.dtype, name=f"norm_{name}")(h, level)

        def placed(h: Array, positions: Array) -> Array:
            features = positional_features(positions.reshape(-1), width)
            return h + features.reshape(*positions.shape, width).astype(h.dtype)

        strokes, bias = at.step * jnp.arange(count, dtype=jnp.float32), None
        if at.character is not None:
            bias = near(
                at.distance(count), self.param("nearness", nearness_init, (self.num_heads,))
            )
        values = dense(width, dtype=self.dtype, name="text")(nn.swish(text.values))
        values = norm(values, "projected")
        heads = MultiHeadAttention(self.num_heads, self.dtype, name="cross")
        mixed, weights = heads(placed(h, strokes), placed(values, at.text), values, text.real, bias)
        self.sow("intermediates", ALIGNMENT, weights)
        h = norm(h + mixed, "cross")
        both = placed(h, strokes)
        mixed, _ = MultiHeadAttention(self.num_heads, self.dtype, name="self")(
            both, both, h, real[..., 0]
        )
        h = norm(h + mixed, "self")
        return norm(h + FeedForward(2, self.dtype, name="ff")(h), "ff")


class MultiHeadAttention(nn.Module):
    """Attention of several heads (Vaswani et al. 2017, section 3.2.2), and its mean weights."""

    num_heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        query: Float[Array, "b i c"],
        key: Float[Array, "b j d"],
        value: Float[Array, "b j d"],
        real: Bool[Array, "b j"],
        bias: Float[Array, "b heads i j"] | None = None,
    ) -> tuple[Float[Array, "b i c"], Float[Array, "b i j"]]:
        width, count = query.shape[-1], self.num_heads

        def heads(name: str, of: Array) -> Array:
            return heads_of(dense(width, dtype=self.dtype, name=name)(of), count)

        q, k, v = heads("query", query), heads("key", key), heads("value", value)
        added = 0.0 if bias is None else bias.reshape(-1, *bias.shape[2:])
        weights = attention_weights(q, k, jnp.repeat(real, count, axis=0), added)
        mixed = join_heads(jnp.einsum("bij,bjc->bic", weights.astype(v.dtype), v), count)
        mean = jnp.mean(weights.reshape(-1, count, *weights.shape[1:]), axis=1)
        return dense(width, dtype=self.dtype, name="out")(mixed), jax.lax.stop_gradient(mean)
