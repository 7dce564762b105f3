"""Upsamplers: a U-Net that is told a picture of lower resolution, and how noisy that is.

    x, low -> [x, enlarged low] -> U-Net -> an output for x

(Saharia et al. 2021, section 2.2; Ho et al. 2022, "Cascaded Diffusion Models", section 4)
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from models.layers.embedding import positional_features

LEVEL_DIM = 32  # features of the level


class Upsampler(nn.Module):
    """x: (b, h, w, c), low: (b, h / k, w / k, c) -> (b, h, w, out_channels of the U-Net), float32.

    Attributes:
      unet: takes 2 c channels, and LEVEL_DIM more numbers as `augment` than the caller gives.
    """

    unet: nn.Module

    def check(self, height: int, width: int) -> None:
        """Raises ValueError, with the name of a field first, if pictures of this size cannot do."""
        self.unet.check(height, width)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, "b"],
        *,
        low: Float[Array, "b h2 w2 c"],
        low_level: Float[Array, "b"],
        labels: Int[Array, "b"] | None = None,
        augment: Float[Array, "b a"] | None = None,
        dropout_keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b h w d"]:
        """low: noised to low_level in [0, 1]; it is enlarged by cubic interpolation."""
        enlarged = jax.image.resize(low, (*x.shape[:3], low.shape[-1]), "cubic")
        if augment is None:
            augment = jnp.zeros((len(x), self.unet.augment_dim - LEVEL_DIM))
        level = positional_features(1000 * low_level, LEVEL_DIM)
        return self.unet(
            jnp.concatenate([x, enlarged], axis=-1),
            c_noise,
            labels=labels,
            augment=jnp.concatenate([augment, level], axis=-1),
            dropout_keys=dropout_keys,
        )
