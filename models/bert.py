"""BERT (Devlin et al. 2019), the encoder of a text as vectors of its words.

    h_0     = norm(words[ids] + places[0 .. n-1] + types[type])                             (1)
    a_i     = norm(h_i + out(attend(q, k, v)))     q, k, v of h_i, by heads                 (2)
    h_{i+1} = norm(a_i + contract(act(expand(a_i))))                                        (3)

No token attends to the padding, so that the vectors of a text do not depend on how much there is.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from models.layers.attention import attend, heads_of, join_heads
from models.layers.convolution import dense
from options.choices import choose, require, require_at_least_one
from options.errors import Words

Mask = Bool[Array, "b n"] | Int[Array, "b n"] | Float[Array, "b n"]

# By the names that configurations of transformers have for them.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": partial(nn.gelu, approximate=False),
    "gelu_new": nn.gelu,
    "relu": nn.relu,
}


class Bert(nn.Module):
    """ids (b, n), int32, and their mask (b, n), 1 at real tokens -> vectors (b, n, width), float32.

    Attributes:
      vocabulary: how many tokens there are.
      width: of the vectors.
      num_layers: of (2) and (3).
      num_heads: of the attention, a divisor of the width.
      hidden: channels between the two layers of (3).
      places: the most tokens of a text.
      types: of tokens, such as those of a first and a second sentence.
      epsilon: of the norms.
      activation: "gelu", "gelu_new" (by tanh) or "relu".
    """

    vocabulary: int = 30522
    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    hidden: int = 3072
    places: int = 512
    types: int = 2
    epsilon: float = 1e-12
    activation: str = "gelu"

    def check(self) -> None:
        """InvalidValue, which names a field that cannot work."""
        choose(ACTIVATIONS, self.activation, "activation")
        sizes = ("vocabulary", "width", "num_layers", "num_heads", "hidden", "places", "types")
        require_at_least_one(self, *sizes)
        divides = self.width % self.num_heads == 0
        require(divides, "num_heads", self.num_heads, f"a divisor of the width, {self.width}")
        require(self.epsilon > 0, "epsilon", self.epsilon, "a positive number")

    @nn.compact
    def __call__(
        self, ids: Int[Array, "b n"], mask: Mask, types: Int[Array, "b n"] | None = None
    ) -> Float[Array, "b n width"]:
        """types: of the tokens, None for the first of all.

        Raises:
          InvalidValue: more tokens than there are places.
        """
        length = ids.shape[1]
        got = Words(f"{length} tokens")
        require(length <= self.places, "text", got, f"at most {self.places}")
        types = jnp.zeros_like(ids) if types is None else types
        h = (
            nn.Embed(self.vocabulary, self.width, name="words")(ids)
            + nn.Embed(self.places, self.width, name="places")(jnp.arange(length))
            + nn.Embed(self.types, self.width, name="types")(types)
        )
        h = _norm(self.epsilon, "norm")(h)
        for i in range(self.num_layers):
            fields = (self.num_heads, self.hidden, self.epsilon, self.activation)
            h = BertLayer(*fields, name=f"layer_{i}")(h, mask > 0)
        return h


class BertLayer(nn.Module):
    """Equations (2) and (3); fields as of `Bert`."""

    num_heads: int
    hidden: int
    epsilon: float
    activation: str

    @nn.compact
    def __call__(
        self, h: Float[Array, "b n width"], real: Bool[Array, "b n"]
    ) -> Float[Array, "b n width"]:
        width = h.shape[-1]
        q, k, v = (
            heads_of(dense(width, name=name)(h), self.num_heads)
            for name in ("query", "key", "value")
        )
        seen = attend(q, k, v, jnp.repeat(real, self.num_heads, axis=0))
        h = h + dense(width, name="out")(join_heads(seen, self.num_heads))
        h = _norm(self.epsilon, "norm_0")(h)
        expanded = ACTIVATIONS[self.activation](dense(self.hidden, name="expand")(h))
        return _norm(self.epsilon, "norm_1")(h + dense(width, name="contract")(expanded))


def _norm(epsilon: float, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon, use_fast_variance=False, name=name)


def mean_pooled(hidden: Float[Array, "b n d"], mask: Mask) -> Float[Array, "b d"]:
    """The mean of the vectors of a text over its real tokens; 0 for a text without any."""
    real = (mask > 0).astype(hidden.dtype)[..., None]
    return (real * hidden).sum(1) / jnp.maximum(real.sum(1), 1)
