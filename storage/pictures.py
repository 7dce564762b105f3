"""Pictures for people: grids of images, and PNG and npz files written whole or not at all."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from storage.files import atomic_write


def grid(
    images: UInt8[np.ndarray, "n height width channels"],
    columns: int | None = None,
    *,
    padding: int = 2,
    background: int = 128,
) -> UInt8[np.ndarray, "rows columns channels"]:
    """Images side by side, row by row; default about as many rows as columns.

    The result is (height, width, channels), with `padding` pixels of grey `background` around each.
    """
    if not len(images):
        raise ValueError("images: got none, expected at least one")
    n, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    cell = (height + padding, width + padding)
    shape = (rows * cell[0] + padding, columns * cell[1] + padding, channels)
    canvas = np.full(shape, background, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * cell[0] + padding, (i % columns) * cell[1] + padding
        canvas[top : top + height, left : left + width] = image
    return canvas


def enlarge(picture: UInt8[np.ndarray, "h w c"], factor: int) -> UInt8[np.ndarray, "hh ww c"]:
    """Each pixel as factor x factor pixels, so that small images can be looked at."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def write_png(path: str | Path, picture: UInt8[np.ndarray, "h w c"]) -> None:
    """Writes (height, width, 1 or 3) uint8 as PNG, whole or not at all."""
    squeezed = picture[..., 0] if picture.shape[-1] == 1 else picture
    with atomic_write(path) as file:
        Image.fromarray(squeezed).save(file, format="PNG")


def write_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """Writes arrays as a compressed npz, whole or not at all."""
    with atomic_write(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
