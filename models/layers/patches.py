"""Patches of pixels as channels, so that a network works on a coarser grid.

Luhman & Luhman 2022, "Improving Diffusion Model Efficiency Through Patching".
"""

from jaxtyping import Array, Float


def to_patches(x: Float[Array, "b h w c"], p: int) -> Float[Array, "b h2 w2 d"]:
    """(b, h, w, c) -> (b, h/p, w/p, p p c)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // p, w // p, p * p * c)


def from_patches(x: Float[Array, "b h w d"], p: int) -> Float[Array, "b h2 w2 c"]:
    """(b, h, w, p p c) -> (b, p h, p w, c), the inverse of `to_patches`."""
    b, h, w, d = x.shape
    x = x.reshape(b, h, w, p, p, d // (p * p)).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * p, w * p, d // (p * p))
