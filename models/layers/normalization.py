"""Group normalisation, in the form that is fast on every backend.

    y = (x - m_g) / sqrt(v_g + eps) * scale + bias = a x + b                               (1)

m_g and v_g are the mean and variance over the pixels and the channels of a group. Pixels are
reduced first, to (batch, channels); the groups are combined on that small array; then (1) is one
affine map per channel. Reshaping the activations themselves into groups costs about twice the time.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from models.layers.padding import Mask, mean_of_pixels


def num_groups(channels: int, channels_per_group: int = 4, most: int = 32) -> int:
    """The largest divisor of `channels` up to min(channels // channels_per_group, most).

    The published networks use that bound itself and fail where it does not divide.
    """
    bound = max(1, min(channels // channels_per_group, most))
    return next(groups for groups in range(bound, 0, -1) if channels % groups == 0)


class GroupNorm(nn.Module):
    """x: (batch, *space, channels) -> the same, in `dtype`; statistics in float32.

    NCSN++ has groups of at least 4 channels, DDPM 32 groups always (`channels_per_group=1`).
    `groups`, if it is not 0, is how many there are in place of that. Of padded images, m_g and v_g
    are those of the real pixels.
    """

    channels_per_group: int = 4
    eps: float = 1e-6
    dtype: DTypeLike = "float32"
    groups: int = 0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], real: Mask | None = None
    ) -> Float[Array, "b *space c"]:
        """real: a padding mask, see `models.layers.padding`; None for no padding."""
        batch, channels = x.shape[0], x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))

        groups = self.groups or num_groups(channels, self.channels_per_group)

        def over_group(per_channel: Float[Array, "b c"]) -> Float[Array, "b c"]:
            mean = per_channel.reshape(batch, groups, -1).mean(-1)
            return jnp.repeat(mean, channels // groups, axis=-1)

        x_f32 = x.astype(jnp.float32)
        m = over_group(mean_of_pixels(x_f32, real))
        v = over_group(mean_of_pixels(jnp.square(x_f32), real)) - jnp.square(m)
        a = scale * lax.rsqrt(jnp.maximum(v, 0.0) + self.eps)
        b = bias - m * a
        one_per_channel = (batch,) + (1,) * (x.ndim - 2) + (channels,)
        return (a.reshape(one_per_channel) * x_f32 + b.reshape(one_per_channel)).astype(self.dtype)
