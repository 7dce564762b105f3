"""Dropout whose mask depends on an example's own key, and so not on its place in a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def fold_keys(keys: Key[Array, "b"] | None, number: int | Array) -> Key[Array, "b"] | None:
    """Every example's key with `number` folded in; None stays None."""
    return None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def dropout(
    x: Float[Array, "b *shape"], rate: float, keys: Key[Array, "b"] | None
) -> Float[Array, "b *shape"]:
    """x with a fraction `rate` of its entries zeroed and the rest scaled by 1 / (1 - rate).

    keys: one for each example; without keys, or at rate 0, x itself.
    """
    if keys is None or rate == 0.0:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1.0 - rate), 0.0).astype(x.dtype)
