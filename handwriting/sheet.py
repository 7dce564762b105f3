"""Lines of ink on a page: of one scale, each on its baseline, without the paper that they came on.

ink         of a line: 1 - grey / paper, the paper being what the image is without its strokes (1)
rows        the body of a line: those around its row of most ink that have LEAST of it or more,
            from the height of the letter x to the baseline                                    (2)
scale       pixels in a millimetre: the median height of bodies over `Layout.x_height`, or less
            where else the widest line would not fit                                           (3)
page        at each pixel the darkest of the lines there, on white                             (4)

Where lines stand is as of `handwriting.page`, equations (2) and (3), but for their tilt. Since no
paper is left of an image, there is no edge to be seen of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from data.text_lines import WHITE, TextLine
from handwriting.page import Layout, require_room, shifts
from options.choices import require
from options.errors import Words

THICK = 15  # pixels, thicker than any stroke
GRAIN = 0.08  # of ink, below which it is the grain of the paper, or more where the paper is coarse:
SPREAD = 4.0  # standard deviations of the grain above its median,
COARSEST = 0.4  # but no more than this
LEAST = 0.4  # of the ink of the fullest row
SMOOTH = 1.5  # pixels


class Body(NamedTuple):
    """Rows of an image: of the upper edge of the letter x, and of the baseline."""

    top: int
    baseline: int


def ink_of(image: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """(1), in [0, 1], 0 where there is but grain."""
    paper = ndimage.grey_closing(image, THICK, mode="nearest").astype(np.float32)
    paper = ndimage.uniform_filter(paper, THICK, mode="nearest")
    ink = 1 - image / np.maximum(paper, 1)
    grain = _grain(ink)
    return np.clip((ink - grain) / (1 - grain), 0, 1).astype(np.float32)


def _grain(ink: Float[np.ndarray, "h w"]) -> float:
    """Up to where it is the paper's, which most pixels are."""
    if not ink.size:
        return GRAIN
    median = np.median(ink)
    deviation = 1.4826 * np.median(np.abs(ink - median))  # of a normal distribution
    return float(np.clip(median + SPREAD * deviation, GRAIN, COARSEST))


def body_of(ink: Float[np.ndarray, "h w"]) -> Body:
    """(2); all rows of a line without ink."""
    rows = ndimage.gaussian_filter1d(ink.sum(axis=1), SMOOTH)
    if not rows.max() > 0:
        return Body(0, len(rows))
    poor = rows < LEAST * rows.max()
    fullest = int(rows.argmax())
    above, below = np.flatnonzero(poor[:fullest]), np.flatnonzero(poor[fullest:])
    top = int(above[-1]) + 1 if len(above) else 0
    return Body(top, fullest + (int(below[0]) if len(below) else len(rows) - fullest))


def sheet(lines: Sequence[TextLine], layout: Layout) -> UInt8[np.ndarray, "h w"]:
    """A page of lines, of which one without columns is left empty.

    InvalidValue where there is nothing to write, or there are more lines than fit.
    """
    require_room(layout, len(lines))
    filled = [(i, ink_of(line.image)) for i, line in enumerate(lines) if line.image.size]
    require(filled, "lines", Words("nothing to write"), "at least one line")
    bodies = [body_of(ink) for _, ink in filled]
    pixels = float(np.median([b.baseline - b.top for b in bodies])) / layout.x_height
    widest = max(ink.shape[1] for _, ink in filled)
    shrunk = min(1.0, layout.room() * pixels / widest)
    width = layout.width or layout.left + layout.right + widest * shrunk / pixels
    width += 0 if layout.width else max(2 * abs(shifts(layout, i)[0]) for i, _ in filled)
    height = layout.height or layout.top + len(lines) * layout.line_height + layout.bottom
    page = np.zeros((round(height * pixels), round(width * pixels)), np.float32)
    for (number, ink), body in zip(filled, bodies, strict=True):
        a, b, _ = shifts(layout, number)
        below = layout.top + (number + 1) * layout.line_height + b
        corner = (below * pixels - body.baseline * shrunk, (layout.left + 2 * abs(a)) * pixels)
        _lay(page, _scaled(ink, shrunk), round(corner[0]), round(corner[1]))
    return np.rint(WHITE * (1 - page)).astype(np.uint8)


def _scaled(ink: Float[np.ndarray, "h w"], by: float) -> Float[np.ndarray, "_ _"]:
    if by == 1:
        return ink
    size = max(1, round(ink.shape[1] * by)), max(1, round(ink.shape[0] * by))
    return np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BILINEAR))


def _lay(page: np.ndarray, ink: np.ndarray, top: int, left: int) -> None:
    """(4), of a line whose upper left corner is there, as far as it is on the page."""
    first, last = max(0, -top), min(len(ink), len(page) - top)
    end = min(ink.shape[1], page.shape[1] - left)
    if first < last and end > 0:
        at = page[top + first : top + last, left : left + end]
        np.maximum(at, ink[first:last, :end], out=at)
