"""Known parts of a sample, held at the noise level of each step: inpainting, colorization.

With y = R x for a rotation R and a mask of the coordinates of y that are known, the known ones are
replaced after every step by what the process would have made of them (Song et al. 2021, app. I.2,
eq. 50),

    y_t = mask (alpha y_0 + sigma R z) + (1 - mask) y_t,      z ~ N(0, I)               (1)

Rotated noise is noise, so any orthonormal R will do: the identity inpaints, a rotation of the
colour channels with the grey one known colours. At the clean node (1) gives the known values
exactly. It is an approximation of the conditional law: the unknown part follows the known one only
through the score, with an error that smaller steps do not take away; `resampling` reduces it.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sde_lib import Node, expand_right

Rotation = tuple[Callable[[Array], Array], Callable[[Array], Array]]

# Columns: grey, and two chromatic directions; orthonormal (the basis of Song et al.'s code).
COLOR_BASIS = np.array(
    [
        [1 / math.sqrt(3), -2 / math.sqrt(6), 0.0],
        [1 / math.sqrt(3), 1 / math.sqrt(6), 1 / math.sqrt(2)],
        [1 / math.sqrt(3), 1 / math.sqrt(6), -1 / math.sqrt(2)],
    ],
    np.float32,
)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["known", "mask"], meta_fields=["rotation"]
)
@dataclasses.dataclass(frozen=True)
class Replacement:
    """The constraint (1). Attributes:

    known: R x_0, (batch, *shape) or anything that broadcasts to it; read where mask is 1.
    mask: 1 where known, 0 where free, broadcasts like `known`.
    rotation: (R, its inverse), functions on a batch that keep lengths; None for the identity.
    """

    known: Array
    mask: Array
    rotation: Rotation | None = None

    def __call__(self, x: Float[Array, "b *shape"], node: Node, noise: Array) -> Array:
        rotate, back = self.rotation or (lambda x: x, lambda y: y)
        level = expand_right(node.alpha, x) * self.known
        level = level + expand_right(node.sigma, x) * rotate(noise)
        return back(jnp.where(self.mask == 1, level, rotate(x)))


def inpainting(
    image: Float[Array, "b *shape"], mask: Any, data_range: tuple[float, float] = (-1.0, 1.0)
) -> Replacement:
    """Keep the image where the mask is 1 and complete it elsewhere.

    Args:
      image: in the process's range, (batch, height, width, channels) or any shape.
      mask: 0 and 1, of the image's shape, or (height, width), or (height, width, 1).
      data_range: the least and greatest value of the image, to notice one in another range.

    Raises:
      ValueError: a mask of another size, not of 0 and 1, or all of one; an image out of range.
    """
    image = jnp.asarray(image, jnp.float32)
    check_range(image, data_range)
    mask = check_mask(mask, image.shape)
    return Replacement(image, mask)


def colorization(
    grey: Float[Array, "b h w 1"], data_range: tuple[float, float] = (-1.0, 1.0)
) -> Replacement:
    """Colour grey images: the mean of red, green and blue is kept.

    Args:
      grey: that mean, in the process's range, (batch, height, width, 1).
    """
    grey = jnp.asarray(grey, jnp.float32)
    if grey.ndim != 4 or grey.shape[-1] != 1:
        raise ValueError(f"grey: got shape {grey.shape}, expected (batch, height, width, 1)")
    check_range(grey, data_range)
    return Replacement(math.sqrt(3) * grey, jnp.array([1.0, 0.0, 0.0]), COLORS)


def decouple(x: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """Colours in the basis whose first coordinate is grey times sqrt(3)."""
    return x @ COLOR_BASIS


def couple(y: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """The inverse of `decouple`."""
    return y @ COLOR_BASIS.T


COLORS: Rotation = (decouple, couple)


def grey_of(x: Float[Array, "*b 3"]) -> Float[Array, "*b 1"]:
    """Mean of red, green and blue."""
    return jnp.mean(x, axis=-1, keepdims=True)


def measured(
    measurement: Array, mask: Any, rotation: Rotation, shape: tuple[int, ...]
) -> Replacement:
    """A measurement of some coordinates of a rotation of x, such as a Fourier or wavelet basis.

    Args:
      measurement: R x_0 where the mask is 1; broadcasts to (batch, *shape).
      rotation: (R, its inverse), on arrays of shape (batch, *shape).
      shape: of one sample.

    Raises:
      ValueError: a mask as in `inpainting`; an R that is no rotation, found on a random vector.
    """
    x = jax.random.normal(jax.random.key(0), (2, *shape))
    rotate, back = rotation
    turned = rotate(x)
    before, after = (float(jnp.linalg.norm(v)) for v in (x, turned))
    if not np.allclose(back(turned), x, atol=1e-4) or not np.isclose(before, after, rtol=1e-4):
        raise ValueError(
            "rotation: got functions that do not keep lengths or are not inverse to each other, "
            "expected an orthonormal change of basis"
        )
    return Replacement(jnp.asarray(measurement), check_mask(mask, (1, *shape)), rotation)


def check_range(image: Array, data_range: tuple[float, float], name: str = "image") -> None:
    """ValueError unless the image lies in the range, up to rounding."""
    low, high = float(jnp.min(image)), float(jnp.max(image))
    slack = 1e-3 * (data_range[1] - data_range[0])
    if not data_range[0] - slack <= low <= high <= data_range[1] + slack:
        raise ValueError(
            f"{name}: got values from {low:.4g} to {high:.4g}, expected the model's range "
            f"{list(data_range)}"
        )


def check_mask(mask: Any, shape: tuple[int, ...]) -> Array:
    """The mask as float32 that broadcasts against (batch, *shape); ValueError as `inpainting`."""
    mask = np.asarray(mask, np.float32)
    if mask.ndim == len(shape) - 2:  # (height, width)
        mask = mask[..., None]
    try:
        if np.broadcast_shapes(mask.shape, shape) != tuple(shape):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"mask: got shape {mask.shape}, expected one that fits images of {shape[1:]}"
        ) from None
    values = np.unique(mask)
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError(f"mask: got values {values[:5].tolist()}, expected 0 (free) and 1 (known)")
    if values.size == 1:
        which = "everything is known" if values[0] else "nothing is known"
        raise ValueError(f"mask: got only {values[0]:.0f}, where {which}; expected some of both")
    return jnp.asarray(mask)
