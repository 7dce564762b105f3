"""A photograph of a line of handwriting, made a picture of ink on white.

1. decoded as grey, upright, made smaller where it is large;
2. binarised by Sauvola's local threshold, for light that is uneven,

       T = m (1 + k (s / R - 1)),    m, s: mean and standard deviation around the pixel      (1)

   (Sauvola and Pietikäinen 2000, "Adaptive document image binarization", eq. 5), where k = 0.2
   and R = 128; specks go;
3. turned by the angle at which its rows are most unlike each other: the sum of the squares of
   their ink is greatest                                                                    (2)
4. cropped to the ink, made HEIGHT high, and white on the right up to a width.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy import ndimage

from data.image_file import RefusedImage, decode
from options.choices import require, require_count
from options.errors import InvalidValue, Words

HEIGHT = 96
SMALLEST, LARGEST = 24, 2000  # pixels: the shorter side at least, the longer side that is worked on
K, R = 0.2, 128.0
WINDOW = 4  # of (1): the shorter side over this, but not more than WIDEST pixels
WIDEST = 101
SPECK = 0.5  # area of a speck, over the square of the pen's width
FEWEST = 40  # pixels of ink
TURNS = (15.0, 1.0), (1.0, 0.1), (0.1, 0.02)  # degrees: so far, in such steps, around the best
POINTS = 20_000  # of ink that (2) is measured by


class Found(NamedTuple):
    """The ink of a photograph after step 3, and the angle that it was turned by, in degrees
    counter-clockwise."""

    ink: Bool[np.ndarray, "height width"]
    angle: float


def style_picture(path: str | Path, width: int) -> UInt8[np.ndarray, "96 width"]:
    """The line as it is on the file, 0 for ink and 255 for white, with grey on the edges of ink.

    What is longer than `width` is cut at the right. InvalidValue for what is no image, is blank,
    or is too small or too large.
    """
    require_count("width", width, 1, 2**15)
    return _picture(cropped(ink_of(path).ink), width)


def ink_picture(grey: UInt8[np.ndarray, "height width"], width: int) -> UInt8[np.ndarray, "96 _"]:
    """A line that lies level, as `style_picture` makes it of a photograph but for the white on the
    right; a speck where there is no ink."""
    ink = binarised(grey) if min(grey.shape) else np.zeros((1, 1), bool)
    ink = cropped(ink) if ink.any() else np.ones((1, 1), bool)
    return _picture(ink, max(1, min(width, round(ink.shape[1] * HEIGHT / ink.shape[0]))))


def _picture(ink: Bool[np.ndarray, "h w"], width: int) -> UInt8[np.ndarray, "96 width"]:
    """Step 4, of ink that is cropped."""
    size = max(1, round(ink.shape[1] * HEIGHT / ink.shape[0])), HEIGHT
    grey = Image.fromarray(np.where(ink, 0, 255).astype(np.uint8))
    line = np.asarray(grey.resize(size, Image.Resampling.BICUBIC))[:, :width]
    return np.pad(line, ((0, 0), (0, width - line.shape[1])), constant_values=255)


def ink_of(path: str | Path) -> Found:
    """Steps 1 to 3; InvalidValue as `style_picture`."""
    ink = binarised(_read(Path(path)))
    require(ink.sum() >= FEWEST, "picture", Words(f"{path} without ink"), "a line of handwriting")
    angle = skew(ink)
    turned = Image.fromarray(ink).convert("L").rotate(
        angle, Image.Resampling.BILINEAR, expand=True
    )  # fmt: skip
    return Found(np.asarray(turned) >= 128, angle)


def _read(path: Path) -> UInt8[np.ndarray, "height width"]:
    """Step 1."""
    try:
        grey = decode(path, channels=1, size=(LARGEST // 2, LARGEST // 2)).pixels[..., 0]
    except RefusedImage as error:
        raise InvalidValue("picture", Words(f"{path}, {error}"), "an image") from None
    got = Words(f"{path} of {grey.shape[1]} x {grey.shape[0]} pixels")
    require(min(grey.shape) >= SMALLEST, "picture", got, f"at least {SMALLEST} on each side")
    image = Image.fromarray(grey)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return np.asarray(image)


def binarised(grey: UInt8[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Step 2: where there is ink, darker than what is around it."""
    window = min(min(grey.shape) // WINDOW, WIDEST) | 1
    values = grey.astype(float)
    mean = ndimage.uniform_filter(values, window)
    square = ndimage.uniform_filter(values**2, window)
    s = np.sqrt(np.maximum(square - mean**2, 0))
    return _without_specks(values < mean * (1 + K * (s / R - 1)))


def _without_specks(ink: np.ndarray) -> np.ndarray:
    """Without the parts that are much smaller than a dot of the pen is."""
    if not ink.any():
        return ink
    # Twice the mean distance to white is half the width of a line.
    width = 4 * float(ndimage.distance_transform_edt(ink)[ink].mean()) - 1
    parts, count = ndimage.label(ink, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    kept = sizes >= max(SPECK * width**2, 3)
    kept[0] = False
    return kept[parts]


def skew(ink: Bool[np.ndarray, "height width"]) -> float:
    """The angle of (2) in degrees, by which ink is turned counter-clockwise to lie level."""
    y, x = np.nonzero(ink)
    every = -(-len(y) // POINTS)
    points = np.stack([x[::every], y[::every]]).astype(float)
    best = 0.0
    for reach, step in TURNS:
        angles = best + np.arange(-round(reach / step), round(reach / step) + 1) * step
        scores = [_unevenness(points, np.radians(angle)) for angle in angles]
        best = float(angles[int(np.argmax(scores))])
    return best


def _unevenness(points: np.ndarray, angle: float) -> float:
    """(2), of points (x, y) with y down, turned counter-clockwise."""
    rows = np.cos(angle) * points[1] - np.sin(angle) * points[0]
    low = np.floor(rows)
    share = rows - low  # of the row below
    at = (low - low.min()).astype(int)
    counts = np.bincount(at, 1 - share, at.max() + 2) + np.bincount(at + 1, share, at.max() + 2)
    return float((counts**2).sum())


def cropped(ink: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "h w"]:
    """From the first row and column with ink to the last."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
