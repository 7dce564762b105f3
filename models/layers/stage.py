"""A stage: residual blocks one after another at one resolution, repeated ones scanned if asked."""

from collections.abc import Callable, Sequence
from itertools import groupby

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from models.layers.dropout import fold_keys

Picture = Float[Array, "b h w c"]


class Unit(nn.Module):
    """One residual block, after a concatenation with `skip` and before attention where asked."""

    block: Callable[..., nn.Module]
    attention: Callable[..., nn.Module] | None

    @nn.compact
    def __call__(
        self,
        h: Picture,
        skip: Float[Array, "b h w d"] | None,
        embedding: Float[Array, "b e"] | None,
        dropout_keys: Key[Array, "b"] | None,
    ) -> Float[Array, "b h w width"]:
        if skip is not None:
            h = jnp.concatenate([h, skip], axis=-1)
        h = self.block(name="block")(h, embedding, dropout_keys)
        return h if self.attention is None else self.attention(name="attention")(h)


class Stage(nn.Module):
    """Units 0 .. n-1, one after another: h -> [h_1, ..., h_n], the output of every unit.

    skips: what each unit concatenates to its input, or None.
    remat: recompute a unit's activations in the backward pass rather than keep them.
    scan: compile a run of units of equal shape once, as a loop. Parameters are stacked inside, so
        that they are the same tree with and without.
    """

    block: Callable[..., nn.Module]
    attention: Callable[..., nn.Module] | None
    num_units: int
    remat: bool = False
    scan: bool = False

    @nn.compact
    def __call__(
        self,
        h: Picture,
        skips: Sequence[Array] | None,
        embedding: Float[Array, "b e"] | None,
        dropout_keys: Key[Array, "b"] | None,
    ) -> list[Array]:
        unit = nn.remat(Unit) if self.remat else Unit
        outputs: list[Array] = []
        for start, stop in self._runs(h, skips):
            loop = self.scan and stop - start > 1 and not self.is_initializing()
            if loop:
                outputs += self._scan(unit, start, stop, h, skips, embedding, dropout_keys)
                h = outputs[-1]
                continue
            for i in range(start, stop):
                skip = None if skips is None else skips[i]
                layer = unit(self.block, self.attention, name=f"unit_{i}")
                h = layer(h, skip, embedding, fold_keys(dropout_keys, i))
                outputs.append(h)
        return outputs

    def _runs(self, h: Array, skips: Sequence[Array] | None) -> list[tuple[int, int]]:
        """Intervals of consecutive units whose inputs, and so parameters, have one shape."""
        width = self.block.keywords["width"]

        def shape(i: int) -> tuple[int, int]:
            return (h.shape[-1] if i == 0 else width, 0 if skips is None else skips[i].shape[-1])

        groups = [list(group) for _, group in groupby(range(self.num_units), shape)]
        return [(group[0], group[-1] + 1) for group in groups]

    def _scan(self, unit, start, stop, h, skips, embedding, dropout_keys) -> list[Array]:
        params = [self.get_variable("params", f"unit_{i}") for i in range(start, stop)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
        stacked_skips = None if skips is None else jnp.stack(skips[start:stop])
        detached = unit(self.block, self.attention, parent=None)

        def body(h, inputs):
            p, skip, i = inputs
            h = detached.apply({"params": p}, h, skip, embedding, fold_keys(dropout_keys, i))
            return h, h

        _, outputs = jax.lax.scan(body, h, (stacked, stacked_skips, jnp.arange(start, stop)))
        return list(outputs)
