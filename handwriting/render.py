"""Rows of pen movements as grey images, drawn by the distance to the ink.

    grey(pixel) = 255 (1 - clip(pen / 2 + 1/2 - d, 0, 1))                                  (1)

d is the distance in pixels from the centre of the pixel to the nearest point of a stroke, so edges
are antialiased and a stroke ends in a half disc. Strokes are sampled STEP px apart, by which d is
too large by at most STEP^2 / (4 pen).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from handwriting.preprocessing import Rows, to_strokes
from options.choices import require, require_at_least_one, require_non_negative

WHITE = 255
STEP = 0.6  # px
FLATTEST = 40.0  # a line is taken to be at least this fraction of its width high


@dataclass(frozen=True)
class Rendering:
    """How lines are drawn: black on white, cropped to the ink, at one height.

    Attributes:
      height: of the image, px, to which the ink is scaled.
      pen: width of a stroke, px, whatever the scale.
      margin: of white around the ink, px.
      widest: the image is cut on the right where it would be wider, px; 0 for any width.
    """

    height: int = 96
    pen: float = 2.0
    margin: int = 0
    widest: int = 0

    def __post_init__(self) -> None:
        require_at_least_one(self, "height")
        require_non_negative(self, "margin", "widest")
        most = self.height - 2 * self.margin
        require(0 < self.pen < most, "pen", self.pen, f"more than 0 px and less than {most} px")

    def __call__(self, rows: Rows) -> UInt8[np.ndarray, "h w"]:
        """One line, as wide as its ink; a line without rows, or without extent, is a dot."""
        strokes = self._placed(to_strokes(rows) or [np.zeros((1, 2))])
        right = max(float(stroke[:, 0].max()) for stroke in strokes)
        width = int(np.ceil(right + self.pen / 2)) + self.margin
        width = min(width, self.widest) if self.widest else width
        return drawn(strokes, self.pen, (self.height, width))

    def _placed(self, strokes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The points in px from the upper left corner of the image."""
        points = np.concatenate(strokes)
        low, extent = points.min(axis=0), np.ptp(points, axis=0)
        room = self.height - 2 * self.margin - self.pen
        size = max(float(extent[1]), float(extent[0]) / FLATTEST)
        scale = room / size if size > 0 else 1.0
        corner = np.full(2, self.margin + self.pen / 2)
        corner[1] += (room - scale * extent[1]) / 2
        return [(stroke - low) * scale + corner for stroke in strokes]

    def batch(self, lines: Sequence[Rows], width: int = 0) -> UInt8[np.ndarray, "n h w"]:
        """Several lines, white on the right up to `width`, or the widest of them where it is 0."""
        return padded([self(rows) for rows in lines], width)


STYLE = Rendering(widest=1400)  # from which the style of a writer is taken


def padded(
    images: Sequence[UInt8[np.ndarray, "h _"]], width: int = 0
) -> UInt8[np.ndarray, "n h w"]:
    """Images of one height in one array, white on the right, where wider ones are cut.

    width: of the array; 0 for that of the widest.
    """
    width = width or max(image.shape[1] for image in images)
    found = np.full((len(images), images[0].shape[0], width), WHITE, np.uint8)
    for row, image in zip(found, images, strict=True):
        row[:, : image.shape[1]] = image[:, :width]
    return found


def drawn(
    strokes: Sequence[Float[np.ndarray, "_ 2"]], pen: float, shape: tuple[int, int]
) -> UInt8[np.ndarray, "h w"]:
    """Equation (1). strokes: points (x, y) in px, y down from the upper edge of the image."""
    points = _sampled(strokes)
    reach = int(np.ceil(pen / 2 + 0.5))
    height, width = shape
    inside = (points > -reach) & (points < [width + reach, height + reach])
    points = points[inside.all(axis=1)]
    corner = np.floor(points).astype(int)
    around = np.arange(-reach, reach + 1)
    away = (corner + 0.5 - points).astype(np.float32)[..., None] + around.astype(np.float32)
    squares = away**2  # (points, 2, around)
    square = squares[:, 1, :, None] + squares[:, 0, None, :]
    wide = width + 4 * reach
    x, y = corner[:, 0, None] + around + 2 * reach, corner[:, 1, None] + around + 2 * reach
    nearest = np.full((height + 4 * reach, wide), np.inf, np.float32)
    at = y[:, :, None] * wide + x[:, None, :]
    np.minimum.at(nearest.reshape(-1), at.reshape(-1), square.reshape(-1))
    edge = 2 * reach
    distance = np.sqrt(nearest[edge : edge + height, edge : edge + width])
    return np.rint(WHITE * (1 - np.clip(pen / 2 + 0.5 - distance, 0, 1))).astype(np.uint8)


def _sampled(strokes: Sequence[np.ndarray]) -> Float[np.ndarray, "n 2"]:
    """Points at most STEP apart along every stroke, its own points among them."""
    points = np.concatenate(strokes)
    starts = np.cumsum([0, *map(len, strokes[:-1])])
    moves = np.linalg.norm(np.diff(points, axis=0, prepend=points[:1]), axis=1)
    counts = np.maximum(np.ceil(moves / STEP), 1).astype(int)
    counts[starts] = 1  # nothing between two strokes
    at = np.cumsum(counts) - 1
    steps = np.arange(at[-1] + 1)
    return np.stack([np.interp(steps, at, coordinate) for coordinate in points.T], axis=1)
