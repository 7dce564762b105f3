"""Residual blocks one after another at one resolution; a run of equal ones may be a loop."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from models.layers.attention import Tokens
from models.layers.dropout import fold_keys
from models.layers.padding import Mask

Image = Float[Array, "b h w c"]
MakeLayer = Callable[..., nn.Module]


class Unit(nn.Module):
    """A residual block, after a concatenation with `skip` and before attention where asked."""

    width: int
    block: MakeLayer
    attention: MakeLayer | None

    @nn.compact
    def __call__(
        self,
        h: Image,
        skip: Float[Array, "b h w d"] | None,
        embedding: Float[Array, "b e"] | None,
        dropout_keys: Key[Array, "b"] | None,
        tokens: Tokens | None = None,
        real: Mask | None = None,
    ) -> Float[Array, "b h w width"]:
        if skip is not None:
            h = jnp.concatenate([h, skip], axis=-1)
        h = self.block(self.width, name="block")(h, embedding, dropout_keys, real)
        return h if self.attention is None else self.attention(name="attention")(h, tokens, real)


class Stage(nn.Module):
    """Units 0 .. n-1 in turn: h -> [h_1, ..., h_n], the output of every one, each `width` wide.

    Attributes:
      block, attention: make the layers of a unit: `block(width, name=...)`, `attention(name=...)`.
      remat: compute a unit's activations again in the backward pass rather than keep them.
      scan: compile a run of units of equal shapes once, as a loop. Parameters are stacked inside,
        so that they are the same tree with and without.
    """

    width: int
    num_units: int
    block: MakeLayer
    attention: MakeLayer | None
    remat: bool = False
    scan: bool = False

    @nn.compact
    def __call__(
        self,
        h: Image,
        skips: Sequence[Array] | None,
        embedding: Float[Array, "b e"] | None,
        dropout_keys: Key[Array, "b"] | None,
        tokens: Tokens | None = None,
        real: Mask | None = None,
    ) -> list[Array]:
        """skips: what each unit concatenates to its input. tokens: what attention sees besides.
        real: a padding mask."""
        unit = nn.remat(Unit) if self.remat else Unit
        keys = [fold_keys(dropout_keys, i) for i in range(self.num_units)]
        outputs: list[Array] = []

        def skip_of(i: int) -> Array | None:
            return skips[i] if skips else None

        for run in self._runs(h, skips):
            if self.scan and len(run) > 1 and not self.is_initializing():
                detached = unit(self.width, self.block, self.attention, parent=None)
                params: list[Any] = [self.get_variable("params", f"unit_{i}") for i in run]
                inputs = (params, [skip_of(i) for i in run], [keys[i] for i in run])
                fixed = (embedding, tokens, real)
                outputs += _scan(detached, h, fixed, *inputs)
            else:
                for i in run:
                    layer = unit(self.width, self.block, self.attention, name=f"unit_{i}")
                    outputs.append(layer(h, skip_of(i), embedding, keys[i], tokens, real))
                    h = outputs[-1]
            h = outputs[-1]
        return outputs

    def _runs(self, h: Array, skips: Sequence[Array] | None) -> list[list[int]]:
        """The units in order, in runs whose inputs, and so parameters, have one shape."""

        def channels(i: int) -> tuple[int, int]:
            return (h.shape[-1] if i == 0 else self.width, skips[i].shape[-1] if skips else 0)

        return [list(run) for _, run in groupby(range(self.num_units), channels)]


def _scan(
    unit: nn.Module,
    h: Array,
    fixed: tuple[Array | None, Tokens | None, Mask | None],
    params: list,
    skips: list,
    keys: list,
) -> list[Array]:
    """`unit` with each of `params`, `skips` and `keys` in turn, as a loop; the output of each.

    fixed: the embedding, tokens and padding mask of all.
    """
    embedding, tokens, real = fixed

    def body(h: Array, inputs: tuple) -> tuple[Array, Array]:
        p, skip, key = inputs
        out: Any = unit.apply({"params": p}, h, skip, embedding, key, tokens, real)
        return out, out

    stacked = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *zip(params, skips, keys, strict=True)
    )
    _, outputs = jax.lax.scan(body, h, stacked)
    return list(outputs)
