"""An autoencoder whose every number is known: orthonormal directions of patches of an image."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiment.latents import LatentCoder
from models.autoencoder import Latents


class LinearAutoencoder(nn.Module):
    """z = W^T x on patches of 2 x 2 pixels, x = W z, W^T W = 1, of standard deviation `spread`."""

    channels: int = 1
    latent_channels: int = 2
    spread: float = 0.0
    divisor = 2

    def check(self, height: int, width: int) -> None:
        pass

    def setup(self) -> None:
        orthonormal = nn.initializers.orthogonal()
        shape = (4 * self.channels, self.latent_channels)
        self.directions = self.param("directions", orthonormal, shape)

    def encode(self, x: Float[Array, "b h w c"]) -> Latents:
        b, h, w, c = x.shape
        patches = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
        z = jnp.matmul(patches.reshape(b, h // 2, w // 2, -1), self.directions, precision="highest")
        return Latents(z, jnp.full_like(z, 2 * np.log(self.spread) if self.spread else -jnp.inf))

    def decode(self, z: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        b, h, w, _ = z.shape
        patches = jnp.matmul(z, self.directions.T, precision="highest")
        patches = patches.reshape(b, h, w, 2, 2, self.channels).transpose(0, 1, 3, 2, 4, 5)
        return patches.reshape(b, 2 * h, 2 * w, self.channels)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return self.decode(self.encode(x).mean)


def coder(spread: float = 0.0, mean=(0.0,), std=(1.0,), seed: int = 0) -> LatentCoder:
    """With directions drawn by the seed."""
    network = LinearAutoencoder(spread=spread)
    params = network.init(jax.random.key(seed), jnp.zeros((1, 2, 2, 1)))["params"]
    return LatentCoder(network, params, mean, std)
