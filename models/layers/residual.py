"""The residual block: norm, act, conv, + embedding, norm, act, dropout, conv, + shortcut."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from models.layers.convolution import Conv, dense
from models.layers.dropout import dropout
from models.layers.normalization import GroupNorm
from models.layers.padding import Mask, without_padding


def add_residual(
    x: Float[Array, "b *shape"], h: Float[Array, "b *shape"], rescale: bool
) -> Float[Array, "b *shape"]:
    """x + h, divided by sqrt(2) if `rescale` so that the variance does not grow."""
    return (x + h) * jnp.asarray(0.5**0.5, h.dtype) if rescale else x + h


class ResidualBlock(nn.Module):
    """x: (b, h, w, c) -> (b, h', w', width).

    With `resample`, which is applied to both branches after the first activation, the block of
    BigGAN; without, that of DDPM. (Brock et al. 2019; Ho et al. 2020; Song et al. 2021, app. H.1)

    Attributes:
      shortcut_scale: initial scale of the shortcut's weights, which exist where the width changes
        or the block resamples.
      channels_per_group, groups, epsilon: of the norms, see `GroupNorm`.
    """

    width: int
    act: Callable[[Array], Array]
    dropout: float = 0.0
    init_scale: float = 0.0
    shortcut_scale: float = 1.0
    skip_rescale: bool = False
    resample: Callable[[Array], Array] | None = None
    channels_per_group: int = 4
    dtype: DTypeLike = "float32"
    groups: int = 0
    epsilon: float = 1e-6

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        embedding: Float[Array, "b d"] | None = None,
        dropout_keys: Key[Array, "b"] | None = None,
        real: Mask | None = None,
    ) -> Float[Array, "b h2 w2 width"]:
        """embedding: shifts the channels between the convolutions. real: a padding mask."""

        def norm(name: str) -> GroupNorm:
            fields = (self.channels_per_group, self.epsilon, self.dtype, self.groups)
            return GroupNorm(*fields, name=name)

        h = without_padding(self.act(norm("norm_0")(x, real)), real)
        if self.resample is not None:
            # A filter carries values into the padding, where the next convolution must see none.
            h = without_padding(self.resample(h), real)
            x = self.resample(without_padding(x, real))
        h = Conv(self.width, dtype=self.dtype, name="conv_0")(h)
        if embedding is not None:
            shift = dense(self.width, dtype=self.dtype, name="embedding")
            h += shift(self.act(embedding))[:, None, None]
        h = self.act(norm("norm_1")(h, real))
        h = without_padding(dropout(h, self.dropout, dropout_keys), real)
        h = Conv(self.width, init_scale=self.init_scale, dtype=self.dtype, name="conv_1")(h)

        if x.shape[-1] != self.width or self.resample is not None:
            scale = self.shortcut_scale
            x = dense(self.width, init_scale=scale, dtype=self.dtype, name="shortcut")(x)
        return add_residual(x, h, self.skip_rescale)
