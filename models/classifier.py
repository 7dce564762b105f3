"""What the classifiers of noisy images have in common: `network(x, c_noise) -> logits`.

    x standardized -> patches -> residual blocks, given the noise level -> means -> logits

A network is conditioned on the noise level by a vector that every block adds to its channels, as
the U-Nets are. Norms are group norms, so that there are no running statistics and the logits of an
image do not depend on its batch; a `ResNet` may have batch norms in their place.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from models.layers.activation import ACTIVATIONS, DTYPES
from models.layers.conditioning import Embedding
from models.layers.convolution import dense
from models.layers.embedding import NOISE_FEATURES
from models.layers.patches import to_patches
from models.sizes import check_divisor, required_divisor
from options.choices import (
    MOST_COUNT,
    choose,
    require,
    require_at_least_one,
    require_count,
    require_fraction,
)
from options.fields import hidden

# Of the published networks' convolutions (He et al. 2015, with the fan of the output).
CONV_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def standardize(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Each image less its mean, divided by its standard deviation (at least 1 / sqrt(h w c)).

    It makes the input's scale alike at all noise levels of a process whose noise grows, and the
    logits independent of an image's brightness and contrast.
    """
    axes = (1, 2, 3)
    away = x - jnp.mean(x, axes, keepdims=True)
    variance = jnp.mean(away**2, axes, keepdims=True)
    return away / jnp.sqrt(jnp.maximum(variance, 1 / x[0].size))


def noise_embedding(
    c_noise: Float[Array, "b"], kind: str, size: int, scale: float, width: int, dtype: DTypeLike
) -> Float[Array, "b width"]:
    """The embedding of the noise level: 2 size features and two dense layers, swish between."""
    features = NOISE_FEATURES[kind].features(c_noise, 2 * size, scale)
    embed = Embedding(width, nn.swish, dtype=dtype, name="embedding")
    vector = embed(features, {}, (), len(c_noise)).embedding
    assert vector is not None
    return vector


def class_logits(
    h: Float[Array, "b h w c"], num_classes: int, dtype: DTypeLike
) -> Float[Array, "b k"]:
    """A dense layer on the means over pixels, float32; about 0, all classes alike, at first."""
    h = jnp.mean(h, axis=(1, 2))
    return dense(num_classes, init_scale=0.0, dtype=dtype, name="logits")(h).astype(jnp.float32)


class Classifier(nn.Module):
    """What every network here has; x: (b, h, w, c), c_noise: (b,) -> logits (b, num_classes).

    Attributes:
      num_classes: of the logits.
      nf: channels of the first level, before `ch_mult`.
      ch_mult: width of each level, from fine to coarse, in units of nf; each halves the image.
      dropout: rate, in every residual block.
      standardize: whether each image is first brought to mean 0 and standard deviation 1.
      embedding_type: of c_noise, "fourier" or "positional" (999 t).
      fourier_size, fourier_scale: half of the number of features, and the standard deviation of
        the Fourier frequencies.
      embed_dim: width of the embedding of the noise level.
      nonlinearity: "swish", "elu", "relu" or "lrelu".
      patch_size: p, above 1, works on squares of p x p pixels as channels.
      dtype: "float32" or "bfloat16", of the computation; parameters and logits are float32.
    """

    num_classes: int = 10
    nf: int = 64
    ch_mult: tuple[int, ...] = (1, 2, 4)
    dropout: float = 0.0
    standardize: bool = True
    embedding_type: str = "fourier"
    fourier_size: int = 128
    fourier_scale: float = 16.0
    embed_dim: int = 512
    nonlinearity: str = "relu"
    patch_size: int = 1
    dtype: str = hidden("float32")

    def check(self, height: int, width: int) -> None:
        """InvalidValue, which names a field, if images of this size cannot do."""
        choose(NOISE_FEATURES, self.embedding_type, "embedding_type")
        choose(ACTIVATIONS, self.nonlinearity, "nonlinearity")
        choose(DTYPES, self.dtype, "dtype")
        require_at_least_one(self, "nf", "embed_dim", "patch_size")
        require_fraction(self, "dropout")
        require_count("num_classes", self.num_classes, 2)
        require_count("fourier_size", self.fourier_size, 2)
        some = bool(self.ch_mult) and all(1 <= m <= MOST_COUNT for m in self.ch_mult)
        require(some, "ch_mult", self.ch_mult, "one or more numbers from 1 on")
        check_divisor(self, height, width, self.divisor(), self.patch_size)

    def divisor(self) -> int:
        """What height and width must be multiples of."""
        return required_divisor(len(self.ch_mult), self.patch_size)

    def read(
        self, x: Float[Array, "b h w c"], c_noise: Float[Array, "b"]
    ) -> tuple[Float[Array, "b h2 w2 d"], Float[Array, "b e"]]:
        """The image as the first convolution sees it, and the vector of the noise level."""
        x = standardize(x) if self.standardize else x
        kind = (self.embedding_type, self.fourier_size, self.fourier_scale)
        embedding = noise_embedding(c_noise, *kind, self.embed_dim, self.dtype)
        return to_patches(x, self.patch_size).astype(self.dtype), embedding
