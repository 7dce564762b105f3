"""Pictures for people: grids of images, and PNG and npz files written whole or not at all."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from options.errors import InvalidValue, Words
from storage.files import atomic_write

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
OPAQUE = 255
SMALL = 64  # pixels in height, up to which images are shown enlarged


def grid(
    images: Shaped[np.ndarray, "n *shape"],
    columns: int | None = None,
    *,
    padding: int = 2,
    background: int = 128,
) -> UInt8[np.ndarray, "rows columns channels"]:
    """Images (n, height, width, channels) side by side; default about as many rows as columns.

    uint8 with 1, 3 or 4 (RGBA) channels; InvalidValue for anything else. The result is (height,
    width, channels), with `padding` pixels of grey `background`, opaque, around each.
    """
    if not len(images):
        raise InvalidValue("images", Words("none"), "at least one")
    _check(images, 4)
    n, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    cell = (height + padding, width + padding)
    shape = (rows * cell[0] + padding, columns * cell[1] + padding, channels)
    canvas = np.full(shape, background, np.uint8)
    canvas[..., 3:] = OPAQUE
    for i, image in enumerate(images):
        top, left = (i // columns) * cell[0] + padding, (i % columns) * cell[1] + padding
        canvas[top : top + height, left : left + width] = image
    return canvas


def enlarge(picture: UInt8[np.ndarray, "h w c"], factor: int) -> UInt8[np.ndarray, "hh ww c"]:
    """Each pixel as factor x factor pixels, so that small images can be looked at."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def shown(picture: UInt8[np.ndarray, "h w c"], height: int) -> UInt8[np.ndarray, "hh ww c"]:
    """A grid of images of this height as it is shown: twofold, unless they are large enough."""
    return enlarge(picture, 2 if height <= SMALL else 1)


def write_png(path: str | Path, picture: Shaped[np.ndarray, "*shape"]) -> None:
    """Writes uint8 (height, width, 1, 3 or 4) as PNG, whole or not at all; else InvalidValue."""
    _check(picture, 3)
    squeezed = picture[..., 0] if picture.shape[-1] == 1 else picture
    with atomic_write(path) as file:
        Image.fromarray(squeezed).save(file, format="PNG")


def write_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """Writes arrays as a compressed npz, whole or not at all."""
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)


def _check(images: np.ndarray, rank: int) -> None:
    """InvalidValue for what cannot be a PNG."""
    if images.ndim != rank or images.shape[-1] not in CHANNELS or images.dtype != np.uint8:
        got = Words(f"{images.dtype} {images.shape}")
        expected = "uint8 (height, width, channels) with 1, 3 or 4 channels, as a PNG has"
        raise InvalidValue("images", got, expected)
