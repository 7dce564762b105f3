"""Masks of pictures: 1 where known, 0 where to be completed, (height, width) float32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def box(height: int, width: int, share: float = 0.5) -> np.ndarray:
    """A hidden box in the middle, of `share` of each side."""
    mask = np.ones((height, width), np.float32)
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
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
    if side not in sides:
        raise ValueError(f"side: got {side!r}, expected one of {list(sides)}")
    mask[sides[side]] = 0
    return mask


def circle(height: int, width: int, share: float = 0.6) -> np.ndarray:
    """A hidden disc in the middle, whose diameter is `share` of the shorter side."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    return (distance > share * min(height, width) / 2).astype(np.float32)


def patches(
    height: int, width: int, share: float = 0.5, size: int = 4, seed: int = 0
) -> np.ndarray:
    """Squares of `size` pixels on a grid, `share` of them hidden at random."""
    rows, columns = -(-height // size), -(-width // size)
    cells = np.ones(rows * columns, np.float32)
    hidden = max(1, round(share * cells.size))
    cells[np.random.default_rng(seed).permutation(cells.size)[:hidden]] = 0
    grown = np.kron(cells.reshape(rows, columns), np.ones((size, size), np.float32))
    return grown[:height, :width]


def drawn(path: str | Path, height: int, width: int) -> np.ndarray:
    """A mask drawn as a picture: white is known, black is hidden.

    Raises:
      ValueError: no picture, one of another size, or with more than the two.
    """
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture.convert("L"))
    except OSError as error:
        raise ValueError(f"mask: {path} cannot be read as a picture: {error}") from None
    if values.shape != (height, width):
        raise ValueError(
            f"mask: {path} is of {values.shape[0]} x {values.shape[1]} pixels, expected "
            f"{height} x {width}"
        )
    if not np.isin(values, (0, 255)).all():
        found = np.unique(values)
        raise ValueError(
            f"mask: {path} has {found.size} shades ({found[0]} to {found[-1]}), expected black "
            "(hidden) and white (known) alone"
        )
    return (values == 255).astype(np.float32)


MASKS: dict[str, Callable[..., np.ndarray]] = {
    "box": box,
    "half": half,
    "circle": circle,
    "patches": patches,
}
