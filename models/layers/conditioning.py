"""How a network takes what it is conditioned on: the noise level, and conditions by their encoders.

An encoder is a module called as `encoder(value, shape)` that gives an `Encoding`: what of the
condition comes in by which way. There are three, and a condition may use several:

    embedding   (b, width), added to the embedding of the noise level
    channels    (b, h, w, c) on the grid of the input, concatenated to it
    tokens      (b, n, width), attended to wherever the network has attention
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from models.layers.attention import Tokens
from models.layers.convolution import dense
from models.layers.embedding import positional_features
from models.layers.transformer import TransformerLayer
from options.choices import did_you_mean, require
from options.errors import InvalidValue

TEXT = "text"  # the condition whose tokens are characters
LEVEL_DIM = 32  # features of the noise level of a low-resolution image


class Encoding(NamedTuple):
    """What a network takes of a condition, by each of the three ways; None for nothing."""

    embedding: Float[Array, "b width"] | None = None
    channels: Float[Array, "b h w c"] | None = None
    tokens: Tokens | None = None


def join(encodings: Sequence[Encoding]) -> Encoding:
    """All of them: the sum of embeddings, the concatenation of channels and that of tokens."""
    vectors = [e.embedding for e in encodings if e.embedding is not None]
    grids = [e.channels for e in encodings if e.channels is not None]
    tokens = [e.tokens for e in encodings if e.tokens is not None]
    return Encoding(
        sum(vectors[1:], start=vectors[0]) if vectors else None,
        jnp.concatenate(grids, axis=-1) if grids else None,
        _join_tokens(tokens) if tokens else None,
    )


def _join_tokens(parts: Sequence[Tokens]) -> Tokens:
    values = jnp.concatenate([part.values for part in parts], axis=1)
    if all(part.mask is None for part in parts):
        return Tokens(values)
    return Tokens(values, jnp.concatenate([part.real for part in parts], axis=1))


def check_names(conditions: Sequence[Any]) -> None:
    """InvalidValue unless the conditions have names that differ."""
    names = [condition.name for condition in conditions]
    require(len(set(names)) == len(names), "conditions", names, "names that differ")


def value_of(
    condition: Any, cond: Mapping[str, Any], shape: tuple[int, ...], batch: int
) -> Any:  # a pytree
    """The condition's entry of `cond`; where there is none, its null for `batch` examples."""
    if condition.name in cond:
        return cond[condition.name]
    example = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape[1:])), condition.example(shape)
    )
    return condition.null(example)


class Embedding(nn.Module):
    """The noise level and the conditions, encoded and joined.

    Attributes:
      width: of the embedding and of tokens.
      act: between the two dense layers of the noise level.
      conditions: see `tasks.conditions.Condition`. The parameters of an encoder are under the
        condition's name; an entry that is absent from `cond` is the condition's null.
      in_features: what of the conditions would be added to the embedding is added to the features
        of the noise level, before the dense layers, and has their width (Karras et al. 2022).
    """

    width: int
    act: Callable[[Array], Array]
    conditions: tuple[Any, ...] = ()
    dtype: DTypeLike = "float32"
    in_features: bool = False

    @nn.compact
    def __call__(
        self,
        noise_features: Float[Array, "b d"] | None,
        cond: Mapping[str, Any],
        shape: tuple[int, ...],
        batch: int,
    ) -> Encoding:
        """shape: of an example of the input.

        Raises:
          InvalidValue: an entry of `cond` that no condition has.
        """
        names = [condition.name for condition in self.conditions]
        for name in cond:
            if name not in names:
                expected = f"conditions of this network, {names}{did_you_mean(name, names)}"
                raise InvalidValue("cond", name, expected)
        width = self.width
        if self.in_features and noise_features is not None:
            width = noise_features.shape[-1]
        encodings = [
            condition.encoder(width, self.dtype).copy(name=condition.name)(
                value_of(condition, cond, shape, batch), shape
            )
            for condition in self.conditions
        ]
        if noise_features is None:
            return join(encodings)
        if self.in_features:
            joined = join(encodings)
            if joined.embedding is not None:
                noise_features = noise_features + joined.embedding
            encodings = [joined._replace(embedding=None)]
        hidden = dense(self.width, dtype=self.dtype, name="dense_0")(noise_features)
        vector = dense(self.width, dtype=self.dtype, name="dense_1")(self.act(hidden))
        return join([Encoding(embedding=vector), *encodings])


class LabelEncoder(nn.Module):
    """A vector for each of `count` labels, int32 (b,), in the embedding."""

    count: int
    width: int
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, labels: Int[Array, " b"], shape: tuple[int, ...]) -> Encoding:
        table = self.param("embedding", nn.initializers.normal(1.0), (self.count, self.width))
        return Encoding(embedding=jnp.take(table.astype(self.dtype), labels, axis=0))


class VectorEncoder(nn.Module):
    """A linear function of a vector (b, d), without a bias, in the embedding; 0 for zeros."""

    width: int
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, vector: Float[Array, "b d"], shape: tuple[int, ...]) -> Encoding:
        size = (vector.shape[-1], self.width)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), size)
        return Encoding(embedding=vector.astype(self.dtype) @ kernel.astype(self.dtype))


class TextEncoder(nn.Module):
    """A token for each character of a text, int32 (b, n), 0 in the padding: a vector of the
    character and features of its number, through `layers` of a transformer.

    `pooled`: the mean of the tokens is in the embedding as well.
    """

    size: int
    width: int
    layers: int = 1
    num_heads: int = 1
    dtype: DTypeLike = "float32"
    pooled: bool = False

    @nn.compact
    def __call__(self, text: Int[Array, "b n"], shape: tuple[int, ...]) -> Encoding:
        table = nn.Embed(self.size, self.width, dtype=self.dtype, name="characters")
        places = positional_features(jnp.arange(text.shape[1], dtype=jnp.float32), self.width)
        h = table(text) + places.astype(self.dtype)
        for number in range(self.layers):
            layer = TransformerLayer(self.num_heads, self.dtype, name=f"layer_{number}")
            h = layer(h, None, text > 0)
        return _with_mean(Tokens(h, text > 0), self.pooled, self.width)


class StyleEncoder(nn.Module):
    """Features of a style (b, n, c) through two layers: tokens of `group` features each or, if
    `added`, their mean over the places, in the embedding."""

    group: int
    added: bool
    width: int
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, style: Float[Array, "b n c"], shape: tuple[int, ...]) -> Encoding:
        style = style.astype(self.dtype)
        parts = style.mean(1) if self.added else style.reshape(len(style), -1, self.group)
        h = nn.swish(dense(2 * self.width, dtype=self.dtype, name="dense_0")(nn.swish(parts)))
        h = dense(self.width, dtype=self.dtype, name="dense_1")(h)
        return Encoding(embedding=h) if self.added else Encoding(tokens=Tokens(h))


class CaptionTokens(nn.Module):
    """{"vectors": (b, n, d), "mask": (b, n)} of a text encoder as tokens, as they are or, if
    `projected`, through a layer to the width of the network's other tokens.

    `pooled`: the mean of the vectors is in the embedding as well.
    """

    projected: bool
    width: int
    dtype: DTypeLike = "float32"
    pooled: bool = False

    @nn.compact
    def __call__(self, caption: Mapping[str, Array], shape: tuple[int, ...]) -> Encoding:
        vectors = caption["vectors"].astype(self.dtype)
        if self.projected:
            vectors = dense(self.width, dtype=self.dtype, name="dense")(vectors)
        return _with_mean(Tokens(vectors, caption["mask"] > 0), self.pooled, self.width)


def _with_mean(tokens: Tokens, pooled: bool, width: int) -> Encoding:
    """Tokens, and if `pooled` a linear function of their mean, at first 0 and for none always 0, in
    the embedding."""
    if not pooled:
        return Encoding(tokens=tokens)
    real = tokens.real[..., None]
    mean = jnp.sum(jnp.where(real, tokens.values, 0), 1) / jnp.maximum(real.sum(1), 1)
    layer = nn.Dense(
        width,
        use_bias=False,
        kernel_init=nn.initializers.zeros,
        dtype=mean.dtype,
        name="pooled",
    )
    return Encoding(embedding=layer(mean), tokens=tokens)


class LowResolutionEncoder(nn.Module):
    """{"image": (b, h', w', c), "level": (b,)}: the image enlarged by cubic interpolation among the
    channels, and a linear function of features of its noise level in the embedding.

    (Saharia et al. 2021, section 2.2; Ho et al. 2022, "Cascaded Diffusion Models", section 4)
    """

    width: int
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, low: Mapping[str, Array], shape: tuple[int, ...]) -> Encoding:
        image, level = low["image"], low["level"]
        size = (len(image), *shape[:-1], image.shape[-1])
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (LEVEL_DIM, self.width))
        features = positional_features(1000 * level, LEVEL_DIM)
        return Encoding(
            embedding=features.astype(self.dtype) @ kernel.astype(self.dtype),
            channels=jax.image.resize(image, size, "cubic"),
        )
