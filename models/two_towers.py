"""Images and texts as vectors of one space (Radford et al. 2021, "CLIP", fig. 3)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from models.layers.convolution import dense


class TwoTowers(nn.Module):
    """f(x_t) and g(text), each (b, width), whose products are the logits of a match.

    f is not of length 1, so that an image which says little, such as a very noisy one, has small
    logits; at first they are 0.

    Attributes:
      image: a network of classifiers, whose logits are taken for f.
      condition: of the text; see `tasks.conditions`. The mean of its tokens is taken.
    """

    image: nn.Module
    condition: Any

    def setup(self) -> None:
        self.text = self.condition.encoder(self.width, "float32")
        self.out = dense(self.width)

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.image.num_classes  # type: ignore[attr-defined]

    def __call__(
        self, x: Float[Array, "b h w c"], c_noise: Float[Array, " b"], value: Any
    ) -> tuple[Float[Array, "b width"], Float[Array, "b width"]]:
        """Both, of as many images as texts."""
        return self.of_image(x, c_noise), self.of_text(value)

    def of_image(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, " b"],
        dropout_keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b width"]:
        """f; keys switch dropout on."""
        options = {} if dropout_keys is None else {"dropout_keys": dropout_keys}
        return self.image(x, c_noise, **options)

    def of_text(self, value: Any) -> Float[Array, "n width"]:
        """g of the condition's value."""
        tokens = self.text(value, ()).tokens
        real = tokens.real[..., None]
        mean = jnp.sum(jnp.where(real, tokens.values, 0), 1) / jnp.maximum(real.sum(1), 1)
        return self.out(mean.astype(jnp.float32))
