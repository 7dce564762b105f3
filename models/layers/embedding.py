"""What a network is told beside the picture, as one vector per example."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int

from models.layers.convolution import dense


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


class Embedding(nn.Module):
    """The sum of a vector for the noise level, one for the class and one for the augmentation.

    -> (b, width), or None where there is none of them.

    Attributes:
      num_classes: 0 for an unconditional network. Label `num_classes` is the null label, which
        stands for "any class"; it is what absent labels mean.
      augment_dim: 0 for none. The vector is linear in `augment`, so absent means zeros.
        (Karras et al. 2022, app. F.2)
    """

    width: int
    act: Callable[[Array], Array]
    num_classes: int = 0
    augment_dim: int = 0
    dtype: DTypeLike = "float32"

    @nn.compact
    def __call__(
        self,
        noise_features: Float[Array, "b d"] | None,
        labels: Int[Array, "b"] | None,
        augment: Float[Array, "b a"] | None,
        batch: int,
    ) -> Float[Array, "b width"] | None:
        terms = []
        if noise_features is not None:
            hidden = dense(self.width, dtype=self.dtype, name="dense_0")(noise_features)
            terms.append(dense(self.width, dtype=self.dtype, name="dense_1")(self.act(hidden)))
        if self.num_classes:
            if labels is None:
                labels = jnp.full((batch,), self.num_classes)
            init = nn.initializers.normal(1.0)
            rows = self.num_classes + 1
            table = nn.Embed(rows, self.width, self.dtype, embedding_init=init, name="labels")
            terms.append(table(labels))
        elif labels is not None:
            raise ValueError("num_classes: got 0, but labels were given")
        if self.augment_dim:
            if augment is None:
                augment = jnp.zeros((batch, self.augment_dim))
            linear = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="augment")
            terms.append(linear(augment))
        elif augment is not None:
            raise ValueError("augment_dim: got 0, but an augmentation vector was given")
        return sum(terms[1:], start=terms[0]) if terms else None
