"""Features of a number for each example, such as the noise level."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
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


def positional_features(
    t: Float[Array, "b"], size: int, longest: float = 10_000.0
) -> Float[Array, "b d"]:
    """[sin(t w_k), cos(t w_k)], w_k = longest^(-k / (size // 2 - 1)); an odd size ends in a zero.

    (b,) -> (b, size). (Vaswani et al. 2017, as Ho et al. 2020 use it)
    """
    half = size // 2
    w = longest ** (-np.arange(half) / (half - 1))
    # In float32 t w would be wrong by 3e-5 at t = 1000, enough to see in a network's output. So
    # t w = a + b, with a exact (both factors have 12 bits) and b small.
    w_12_bits = np.round(w * 2**12) / 2**12
    n = jnp.round(t)[:, None]
    a = n * w_12_bits.astype(np.float32)
    b = n * (w - w_12_bits).astype(np.float32) + (t[:, None] - n) * w.astype(np.float32)
    sin = jnp.sin(a) * jnp.cos(b) + jnp.cos(a) * jnp.sin(b)
    cos = jnp.cos(a) * jnp.cos(b) - jnp.sin(a) * jnp.sin(b)
    features = jnp.concatenate([sin, cos], axis=-1)
    return jnp.pad(features, ((0, 0), (0, size % 2)))


class NoiseFeatures(NamedTuple):
    """How a network sees the noise level, `features(c_noise, size, scale)` -> (b, size).

    Attributes:
      features: scale is the standard deviation of Fourier frequencies, whose layer is named
        "fourier" and belongs to the network in whose call it runs.
      least: the smallest size.
    """

    features: Callable[[Float[Array, "b"], int, float], Float[Array, "b d"]]
    least: int


def _fourier(c: Float[Array, "b"], size: int, scale: float) -> Float[Array, "b d"]:
    return FourierFeatures(size // 2, scale, name="fourier")(c)


def _positional(c: Float[Array, "b"], size: int, scale: float) -> Float[Array, "b d"]:
    return positional_features(c, size)


# "fourier" of log sigma, "positional" of 999 t.
NOISE_FEATURES = {
    "fourier": NoiseFeatures(_fourier, least=2),
    "positional": NoiseFeatures(_positional, least=4),
}
