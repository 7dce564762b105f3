"""Where a line of writing stands and how large it is: baseline and height of the letter x.

Every stroke has bottoms and tops, points that are below (above) their neighbours; those of dots
and bars do not count. Most bottoms of a line stand on the baseline and most tops of small letters
on the line of their heights; those of descenders, ascenders and capitals are fewer and further off.
So, with y down,

    baseline    y = y_0 + slope x, the line near which most bottoms are                       (1)
    height      the distance above it at which most tops are                                  (2)

Near which most are: the maximum of a sum of Gaussians of the standard deviation NEAR, one around
each. A bounding box, or a least-squares line, would follow the descenders.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handwriting.preprocessing import Stroke
from options.choices import require
from options.errors import Words

NEAR = 0.12  # standard deviation of (1) and (2), over the spread of heights of all bottoms and tops
LEAST = 0.5  # of a height (2), over the same
STEEPEST, STEPS = 0.12, 49  # slopes that are tried: up to this, so many
LEVEL = 0.1  # standard deviation of slopes, before the line is seen
FINE = 200  # distances that are tried
FLAT = 0.2  # height of a dot or a bar, over that of the highest stroke, at most


@dataclass(frozen=True)
class Body:
    """Of a line, in its units, y down: the baseline is y = y_0 + slope x; `height` of the x."""

    y_0: float
    slope: float
    height: float

    def levelled(self, strokes: Sequence[Stroke]) -> list[Stroke]:
        """Strokes with this baseline moved to y = 0."""
        return [stroke - [0, self.y_0] - self.slope * stroke[:, :1] * [0, 1] for stroke in strokes]


def body(strokes: Sequence[Stroke]) -> Body:
    """(1) and (2) of one line; of strokes of no height, as dots are, the height is 0.

    InvalidValue where there is no point.
    """
    require(any(map(len, strokes)), "strokes", Words("no point"), "at least one")
    strokes = [stroke for stroke in strokes if len(stroke)]
    heights = np.array([np.ptp(stroke[:, 1]) for stroke in strokes])
    of = [strokes[k] for k in np.flatnonzero(heights >= FLAT * heights.max())]
    bottoms = np.concatenate([_extremes(stroke, 1) for stroke in of])
    tops = np.concatenate([_extremes(stroke, -1) for stroke in of])
    spread = 2 * float(np.std(np.concatenate([bottoms, tops])[:, 1]))
    if spread == 0:
        return Body(float(bottoms[0, 1]), 0.0, 0.0)
    slopes = np.linspace(-STEEPEST, STEEPEST, STEPS)
    found = []
    for slope in slopes:
        y_0, many = _most(bottoms[:, 1] - slope * bottoms[:, 0], NEAR * spread)
        found.append((many * np.exp(-((slope / LEVEL) ** 2) / 2), -abs(slope), slope, y_0))
    _, _, slope, y_0 = max(found)
    above = y_0 + slope * tops[:, 0] - tops[:, 1]
    above = above[above > LEAST * spread]
    height = _most(above, NEAR * spread)[0] if len(above) else spread
    return Body(float(y_0), float(slope), float(height))


def _extremes(stroke: Stroke, sign: int) -> Float[np.ndarray, "n 2"]:
    """The bottoms (sign 1) or tops (-1) of a stroke; of a level piece its middle."""
    keep = np.concatenate([[True], np.diff(stroke[:, 1]) != 0])
    starts = np.flatnonzero(keep)
    ends = np.concatenate([starts[1:], [len(stroke)]]) - 1
    pieces = (stroke[starts] + stroke[ends]) / 2
    y = np.pad(sign * pieces[:, 1], 1, constant_values=-np.inf)
    return pieces[(y[1:-1] > y[:-2]) & (y[1:-1] > y[2:])].astype(float)


def _most(values: Float[np.ndarray, " n"], near: float) -> tuple[float, float]:
    """Where the sum of Gaussians around the values is greatest, and that sum."""
    at = np.linspace(values.min(), values.max(), FINE)
    sums = np.exp(-(((at[:, None] - values) / near) ** 2) / 2).sum(1)
    return float(at[sums.argmax()]), float(sums.max())
