"""Residual blocks: norm, act, conv, + embedding, norm, act, dropout, conv, + shortcut."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from models.layers.convolution import Conv, dense
from models.layers.dropout import dropout
from models.layers.normalization import GroupNorm


class ResidualBlock(nn.Module):
    """The block of BigGAN (`shortcut="conv"`, may resample) and of DDPM (`shortcut="dense"`).

    x: (b, h, w, c) -> (b, h', w', width). `resample` is applied to both branches after the first
    activation. `embedding` (b, d), if given, shifts the channels between the convolutions.
    The shortcut has weights where the width changes or the block resamples.
    (Brock et al. 2019; Song et al. 2021, app. H)
    """

    width: int
    act: Callable[[Array], Array]
    dropout: float = 0.0
    init_scale: float = 0.0
    skip_rescale: bool = False
    resample: Callable[[Array], Array] | None = None
    shortcut: str = "conv"
    channels_per_group: int = 4
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        embedding: Float[Array, "b d"] | None = None,
        dropout_keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b h2 w2 width"]:
        def norm(name: str) -> GroupNorm:
            return GroupNorm(self.channels_per_group, dtype=self.dtype, name=name)

        h = self.act(norm("norm_0")(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = Conv(self.width, dtype=self.dtype, name="conv_0")(h)
        if embedding is not None:
            project = dense(self.width, dtype=self.dtype, name="embedding")
            h += project(self.act(embedding))[:, None, None]
        h = self.act(norm("norm_1")(h))
        h = dropout(h, self.dropout, dropout_keys)
        h = Conv(self.width, init_scale=self.init_scale, dtype=self.dtype, name="conv_1")(h)

        if x.shape[-1] != self.width or self.resample is not None:
            if self.shortcut == "conv":
                x = Conv(self.width, 1, dtype=self.dtype, name="shortcut")(x)
            else:
                x = dense(self.width, init_scale=0.1, dtype=self.dtype, name="shortcut")(x)
        y = x + h
        return y / jnp.sqrt(2.0).astype(y.dtype) if self.skip_rescale else y
