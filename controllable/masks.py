"""Masks of images: 1 where known, 0 where to be completed, (height, width) float32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from options.choices import choose
from options.errors import InvalidValue, Words


def box(height: int, width: int, fraction: float = 0.5) -> np.ndarray:
    """A hidden box in the middle, of `fraction` of each side."""
    mask = np.ones((height, width), np.float32)
    top, left = round(height * (1 - fraction) / 2), round(width * (1 - fraction) / 2)
    mask[top : height - top, left : width - left] = 0
    return mask


def half(height: int, width: int, side: str = "right") -> np.ndarray:
    """A hidden half: "right", "left", "top" or "bottom"."""
    mask = np.ones((height, width), np.float32)
    rows, columns = slice(None), slice(None)
    sides = {
        "right": (rows, slice(width // 2, None)),
        "left": (rows, slice(None, width // 2)),
        "top": (slice(None, height // 2), columns),
        "bottom": (slice(height // 2, None), columns),
    }
    mask[choose(sides, side, "side")] = 0
    return mask


def circle(height: int, width: int, fraction: float = 0.6) -> np.ndarray:
    """A hidden disc in the middle, whose diameter is `fraction` of the shorter side."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    return (distance > fraction * min(height, width) / 2).astype(np.float32)


def patches(
    height: int, width: int, fraction: float = 0.5, size: int = 4, seed: int = 0
) -> np.ndarray:
    """Squares of `size` pixels on a grid, `fraction` of them hidden at random."""
    rows, columns = -(-height // size), -(-width // size)
    cells = np.ones(rows * columns, np.float32)
    hidden = max(1, round(fraction * cells.size))
    cells[np.random.default_rng(seed).permutation(cells.size)[:hidden]] = 0
    grown = np.kron(cells.reshape(rows, columns), np.ones((size, size), np.float32))
    return grown[:height, :width]


def drawn(path: str | Path, height: int, width: int) -> np.ndarray:
    """A mask drawn as an image: white is known, black is hidden.

    Raises:
      InvalidValue: no image, one of another size, or with more than the two.
    """
    try:
        with Image.open(path) as image:
            values = np.asarray(image.convert("L"))
    except OSError as error:
        why = f"{path} cannot be read as an image: {error}"
        raise InvalidValue("mask", but=why) from None
    if values.shape != (height, width):
        got = Words(f"{path} of {values.shape[0]} x {values.shape[1]} pixels")
        raise InvalidValue("mask", got, f"{height} x {width}")
    if not np.isin(values, (0, 255)).all():
        found = np.unique(values)
        got = Words(f"{found.size} shades ({found[0]} to {found[-1]}) in {path}")
        raise InvalidValue("mask", got, "black (hidden) and white (known) alone")
    return (values == 255).astype(np.float32)


MASKS: dict[str, Callable[..., np.ndarray]] = {
    "box": box,
    "half": half,
    "circle": circle,
    "patches": patches,
}
