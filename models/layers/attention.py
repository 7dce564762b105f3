"""Self-attention over the pixels of a feature map, with one head."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from models.layers.convolution import dense
from models.layers.normalization import GroupNorm
from models.layers.residual import add_residual


class AttentionBlock(nn.Module):
    """x + out(softmax(q k^T / sqrt(c)) v), divided by sqrt(2) if `skip_rescale`."""

    init_scale: float = 0.0
    skip_rescale: bool = False
    channels_per_group: int = 4
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        batch, height, width, channels = x.shape
        h = GroupNorm(self.channels_per_group, dtype=self.dtype, name="norm")(x)
        h = h.reshape(batch, height * width, channels)
        q, k, v = (
            dense(channels, init_scale=0.1, dtype=self.dtype, name=name)(h)
            for name in ("query", "key", "value")
        )
        logits = jnp.einsum("bic,bjc->bij", q, k).astype(jnp.float32) * channels**-0.5
        weights = jax.nn.softmax(logits).astype(self.dtype)
        h = jnp.einsum("bij,bjc->bic", weights, v)
        h = dense(channels, init_scale=self.init_scale, dtype=self.dtype, name="out")(h)
        return add_residual(x, h.reshape(x.shape), self.skip_rescale)
