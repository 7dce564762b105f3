"""Bilinear resizing without antialiasing, in the two ways of published FIDs.

    out[i] = (1 - f) x[k] + f x[min(k + 1, n - 1)],    k + f = clip((i + c) n / size - c, 0, n - 1)

c = 1/2 puts pixels' centres at half integers: PyTorch's `interpolate` with align_corners=False, by
which pytorch-fid resizes. c = 0 is TensorFlow 1's `resize_bilinear`, in the graph of the original
FID (Heusel et al. 2017) and in torch-fidelity. Both skip pixels of images larger than `size`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

HALF_PIXEL, CORNER = 0.5, 0.0


def bilinear(
    x: Float[Array | np.ndarray, "b h w c"], size: int, centre: float
) -> Float[Array, "b size size c"]:
    """The image at size x size; centre is c above."""
    rows, columns = (jnp.asarray(_weights(n, size, centre)) for n in x.shape[1:3])
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns, precision=exact)


def _weights(n: int, size: int, centre: float) -> np.ndarray:
    """(size, n), of which each row has at most two that are not 0."""
    # In float32, by whose rounding published numbers were computed.
    i, c = np.arange(size, dtype=np.float32), np.float32(centre)
    at = np.clip((i + c) * np.float32(n / size) - c, 0, n - 1)
    low = np.floor(at).astype(int)
    found = np.zeros((size, n), np.float32)
    found[np.arange(size), low] += 1 - (at - low)
    found[np.arange(size), np.minimum(low + 1, n - 1)] += at - low
    return found


def bicubic(
    x: Float[Array | np.ndarray, "b h w c"], sides: tuple[int, ...], scales: Sequence[float]
) -> Float[Array, "b h2 w2 c"]:
    """PyTorch's bicubic `interpolate`, not antialiased, by these factors: Keys's kernel with
    a = -3/4, pixels beyond the edge those at it."""
    rows, columns = (
        jnp.asarray(_cubic_weights(n, side, scale))
        for n, side, scale in zip(x.shape[1:3], sides, scales, strict=True)
    )
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns, precision=exact)


def _cubic_weights(n: int, size: int, scale: float) -> np.ndarray:
    at = (np.arange(size) + HALF_PIXEL) / scale - HALF_PIXEL
    low, found, a = np.floor(at).astype(int), np.zeros((size, n)), -0.75
    for k in (-1, 0, 1, 2):
        d = np.abs(at - low - k)
        near = ((a + 2) * d - (a + 3)) * d**2 + 1
        far = a * (((d - 5) * d + 8) * d - 4)
        np.add.at(found, (np.arange(size), np.clip(low + k, 0, n - 1)), np.where(d <= 1, near, far))
    return found.astype(np.float32)
