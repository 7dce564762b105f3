"""Where the characters of a text are expected along a line, for an attention that looks near them.

With a_k the usual size of token k, of a text of n characters, in fractions of the line,

    place of character k   (a_1 + ... + a_{k-1} + a_k / 2) / (a_1 + ... + a_n)               (1)
    bias of the attention  -e^s d^2 / 2,  d: the distance to the place, in characters        (2)

where s, one for each head, is learned and begins where the Gaussian is NEAR characters wide.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NEAR = 1.5  # characters, the width of the attention to the text where it begins
nearness_init = nn.initializers.constant(-2 * math.log(NEAR))


class Places(NamedTuple):
    """Places in fractions of a line.

    Attributes:
      of: each character. character: from one to the next, on the average.
    """

    of: Float[Array, "b n"]
    character: Float[Array, " b"]

    def distance(self, at: Float[Array, "b i"]) -> Float[Array, "b i n"]:
        """Of places of the line to the characters, in characters."""
        return (at[:, :, None] - self.of[:, None]) / self.character[:, None, None]


def expected_places(tokens: Int[Array, "b n"], sizes: tuple[float, ...]) -> Places:
    """(1). sizes: of each token, the first of no character."""
    each = jnp.asarray(sizes)[tokens] * (tokens > 0)
    total = jnp.maximum(jnp.sum(each, axis=1, keepdims=True), 1e-6)
    ends = jnp.cumsum(each, axis=1)
    count = jnp.maximum(jnp.sum(tokens > 0, axis=1), 1)
    return Places((ends - each / 2) / total, 1 / count)


def near(
    distance: Float[Array, "b i n"], nearness: Float[Array, " heads"]
) -> Float[Array, "b heads i n"]:
    """(2), of distances in characters."""
    return -jnp.exp(nearness)[:, None, None] * distance[:, None] ** 2 / 2
