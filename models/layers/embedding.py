"""Embeddings of the noise level."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class FourierFeatures(nn.Module):
    """[sin(2 pi W c), cos(2 pi W c)] with W ~ N(0, scale^2), drawn once and never trained.

    (b,) -> (b, 2 size). W is a parameter so that checkpoints hold it; its gradient is zero.
    (Tancik et al. 2020; Song et al. 2021, app. C.3)
    """

    size: int
    scale: float = 16.0

    @nn.compact
    def __call__(self, c: Float[Array, "b"]) -> Float[Array, "b d"]:
        W = self.param("W", nn.initializers.normal(self.scale), (self.size,))
        angle = 2 * jnp.pi * c[:, None] * jax.lax.stop_gradient(W)
        return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def positional_embedding(
    t: Float[Array, "b"], size: int, longest: float = 10_000.0
) -> Float[Array, "b {size}"]:
    """[sin(t w_k), cos(t w_k)], w_k = longest^(-k / (size // 2 - 1)); an odd size ends in a zero.

    (Vaswani et al. 2017, as used by Ho et al. 2020)
    """
    half = size // 2
    w = longest ** (-jnp.arange(half) / (half - 1))
    angle = t[:, None] * w
    features = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    return jnp.pad(features, ((0, 0), (0, size % 2)))
