"""Padding of images, by a mask at the resolution of the input, at whatever resolution a layer has.

A mask (b, h, w, 1), with axes of 1 where it does not depend on them, is 1 where an image is real. A
cell of a coarser grid is real where any of its pixels is. What is 0 in the padding before every
convolution, resampling and sum over pixels gives outputs at real pixels that depend neither on what
stands in the padding nor on how much of it there is, as long as that ends where a cell of the
coarsest grid does: layers see zeros beyond the edge of an image alike.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Mask = Bool[Array, "b ..."] | Float[Array, "b ..."]


def real_at(real: Mask, shape: tuple[int, ...]) -> Bool[Array, "b ..."]:
    """The mask on the grid of `shape`, (b, h, w, c), whose sizes divide those of the mask."""
    mask = real > 0
    for axis, size in enumerate(shape[1:-1], start=1):
        if mask.shape[axis] > size:
            cells = (*mask.shape[:axis], size, -1, *mask.shape[axis + 1 :])
            mask = mask.reshape(cells).any(axis + 1)
    return mask


def without_padding(h: Float[Array, "b h w c"], real: Mask | None) -> Float[Array, "b h w c"]:
    """h with zeros in the padding; h itself where there is no mask."""
    return h if real is None else jnp.where(real_at(real, h.shape), h, 0)


def mean_of_pixels(h: Float[Array, "b *space c"], real: Mask | None = None) -> Float[Array, "b c"]:
    """The mean over the pixels, of those that are real."""
    space = tuple(range(1, h.ndim - 1))
    if real is None:
        return h.mean(space)
    mask = jnp.broadcast_to(real_at(real, h.shape), (*h.shape[:-1], 1))
    return jnp.where(mask, h, 0).sum(space) / jnp.maximum(mask.sum(space), 1)


def columns_of(real: Mask | None, shape: tuple[int, ...]) -> Float[Array, " b"]:
    """How many columns of the grid of `shape`, (b, h, w, c), an image has, as a fraction of pixels
    where it ends within one."""
    if real is None:
        return jnp.full(shape[0], float(shape[2]))
    whole = real.shape[2]
    count = jnp.sum(jnp.any(real > 0, axis=(1, 3)), axis=1)
    return count * (shape[2] / whole)
