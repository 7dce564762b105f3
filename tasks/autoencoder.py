"""Training an autoencoder of images (Rombach et al. 2022, section 3.1, without the discriminator).

    loss = mean |x - x'| + w d(x, x') + sum_i w_i penalty_i                                 (1)

with x' the image again, the mean over its coordinates, d a perceptual distance (`tasks.perceptual`)
and the penalties those that the network has on its latents (`models.autoencoder`): the KL
divergence of the posterior from N(0, 1), or those of a codebook.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from options.choices import choose, require_non_negative
from options.precision import PRECISIONS
from tasks.perceptual import Perceptual
from tasks.task import Batch, Context


@dataclasses.dataclass(frozen=True)
class AutoencoderTask:
    """Training an autoencoder on batch["image"], in [-1, 1].

    Attributes:
      network: of `models.AUTOENCODERS`, called by its method `reconstruct`.
      shape: of an image, (height, width, channels).
      perceptual: d of (1); None for none. perceptual_weight: w.
      kl, commitment: weights of the penalties of these names; any other has 1.
      precision: of the network's products in the loss, of `options.precision.PRECISIONS`.
      pictures: `pictures(params) -> {name: plot}`, what to draw during training.
    """

    network: Any
    shape: tuple[int, ...]
    perceptual: Perceptual | None = None
    perceptual_weight: float = 1.0
    kl: float = 1e-6
    commitment: float = 0.25
    precision: str = "tf32"
    pictures: Callable[[Any], dict[str, np.ndarray]] | None = None

    def __post_init__(self) -> None:
        require_non_negative(self, "perceptual_weight", "kl", "commitment")

    @property
    def frozen(self) -> Any:
        """The parameters of the perceptual distance."""
        return self.perceptual.frozen if self.perceptual is not None else ()

    def init(self, key: Key[Array, ""]) -> Any:
        """Freshly initialised parameters, float32."""
        return self.network.init(key, jnp.zeros((1, *self.shape)))["params"]

    def for_evaluation(self) -> "AutoencoderTask":
        """The task in float32."""
        return dataclasses.replace(self, precision="float32")

    def loss(
        self, context: Context, batch: Batch, keys: Key[Array, " b"]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Mean of (1) over the batch; of each example (1) and its parts, none of them weighted."""
        x = batch["image"]
        with choose(PRECISIONS, self.precision, "precision").context():
            variables = {"params": context.params}
            made = self.network.apply(variables, x, keys, method="reconstruct")
        parts = {"absolute_error": jnp.mean(jnp.abs(x - made.x), axis=(1, 2, 3)), **made.penalties}
        weights = {"kl": self.kl, "commitment": self.commitment}
        if self.perceptual is not None:
            parts["perceptual"] = self.perceptual(context.frozen, (x + 1) / 2, (made.x + 1) / 2)
            weights["perceptual"] = self.perceptual_weight
        values = jnp.stack([weights.get(name, 1.0) * part for name, part in parts.items()])
        each = jnp.sum(values, axis=0)
        return jnp.mean(each), {"loss": each, **parts}

    def draw(self, context: Context, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        """Images beside what the average makes of them."""
        return self.pictures(jax.device_get(context.params)) if self.pictures else {}
