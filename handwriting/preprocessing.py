"""From recorded strokes to the rows (dx, dy, pen) that a model is trained on.

    v_i = (x_i - x_{i-1}, y_{i-1} - y_i)     of the points of all strokes, y up          (1)
    v   = v / s                              s the one standard deviation of dx and dy   (2)
    v_k = v_2k + v_{2k+1}                    for the n pairs of least
                                             |v_2k| + |v_{2k+1}| - |v_2k + v_{2k+1}|     (3)

(2) and (3) are of Luhman and Luhman 2020, "Diffusion Models for Handwriting Generation", section
5.1; that (3) is done three times, each time with n a fifth of the rows and (2) after it, is in
their code alone. Functions are pure; "rows" are as `data.strokes` describes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Real

from options.choices import require, require_fraction, require_non_negative
from options.errors import InvalidValue, Words

Stroke = Real[np.ndarray, "_ 2"]  # points (x, y), y down
Rows = Real[np.ndarray, "_ 3"]
STEEPEST = 1.0  # |slope| of a baseline and |shear| of a slant beyond which neither is believed


def to_rows(strokes: Sequence[Stroke]) -> Rows:
    """Equation (1); the first row is (0, 0, 1), and one row with pen 1 leads to each stroke.

    InvalidValue where there is no point, or a coordinate is not finite.
    """
    strokes = [np.asarray(stroke, float) for stroke in strokes if len(stroke)]
    require(strokes, "strokes", Words("no point"), "at least one")
    points = np.concatenate(strokes)
    require(np.isfinite(points).all(), "strokes", Words("numbers that are not finite"), "points")
    moves = np.diff(points, axis=0, prepend=points[:1]) * [1, -1]
    pen = np.zeros(len(points))
    pen[np.cumsum([0, *map(len, strokes[:-1])])] = 1
    return np.column_stack([moves, pen])


def to_strokes(rows: Rows) -> list[Stroke]:
    """The strokes of rows, the last one too; the inverse of `to_rows` but for where they are."""
    points = np.cumsum(rows[:, :2] * [1, -1], axis=0)
    return [part for part in np.split(points, np.flatnonzero(rows[:, 2] > 0.5)) if len(part)]


def scaled(rows: Rows) -> Rows:
    """Equation (2); InvalidValue where all offsets are equal."""
    std = rows[:, :2].std()
    require(std > 0, "strokes", Words("offsets that are all equal"), "a line that goes somewhere")
    return rows / [std, std, 1]


def merged(rows: Rows, fraction: float, across: bool = False) -> Rows:
    """Equation (3) with n = int(fraction rows), at most as many as there are pairs.

    across: also pairs of which one row travels above the paper and the other writes. The pen of
    such a sum is up, so that what the other wrote is lost; without, those pairs are left.
    """
    first, second = rows[0 : len(rows) - 1 : 2], rows[1::2]
    length = np.linalg.norm
    detour = length(first[:, :2], axis=1) + length(second[:, :2], axis=1)
    detour -= length(first[:, :2] + second[:, :2], axis=1)
    if not across:
        detour = np.where(first[:, 2] + second[:, 2] > 0, np.inf, detour)
    order = np.argsort(detour, kind="stable")[: int(len(rows) * fraction)]
    pairs = order[np.isfinite(detour[order])]
    rows = rows.copy()
    rows[2 * pairs, :2] += rows[2 * pairs + 1, :2]
    rows[2 * pairs, 2] = np.maximum(rows[2 * pairs, 2], rows[2 * pairs + 1, 2])
    return np.delete(rows, 2 * pairs + 1, axis=0)


def resampled(strokes: Sequence[Stroke], spacing: float) -> list[Stroke]:
    """Strokes by points `spacing` apart along them, or a little less; their ends are kept."""
    found = []
    for stroke in strokes:
        at = np.cumsum(np.linalg.norm(np.diff(stroke, axis=0, prepend=stroke[:1]), axis=1))
        wanted = np.linspace(0, at[-1], int(np.ceil(at[-1] / spacing)) + 1)
        found.append(np.stack([np.interp(wanted, at, coordinate) for coordinate in stroke.T], 1))
    return found


def level(strokes: Sequence[Stroke]) -> list[Stroke]:
    """Strokes with the baseline made horizontal, by the least-squares line through their points.

    A line steeper than 45 degrees is no baseline, and strokes of no width have none: both stay.
    """
    x, y = np.concatenate(strokes).T
    spread = np.var(x)
    slope = np.mean((x - x.mean()) * (y - y.mean())) / spread if spread > 0 else np.inf
    if abs(slope) > STEEPEST:
        return list(strokes)
    return [stroke - slope * stroke[:, :1] * [0, 1] for stroke in strokes]


def upright(strokes: Sequence[Stroke]) -> list[Stroke]:
    """Strokes sheared so that downstrokes are vertical on average.

    The slant is the mean of dx / dy over segments that go down more than sideways, weighted by
    their heights; without such segments there is none.
    """
    moves = np.concatenate([np.diff(stroke, axis=0) for stroke in strokes])
    down = moves[moves[:, 1] > np.abs(moves[:, 0]) / STEEPEST]
    if not len(down):
        return list(strokes)
    slant = down[:, 0].sum() / down[:, 1].sum()
    return [stroke - slant * stroke[:, 1:] * [1, 0] for stroke in strokes]


@dataclass(frozen=True)
class Preprocessing:
    """From strokes to rows: level, upright, resample, (1), (2), and (3) with (2) again.

    Attributes:
      level, upright: whether the baseline's slope and the slant are taken out.
      spacing: of resampled points, in heights of the line; 0 leaves the points as they are.
      scale: whether to divide each line by its standard deviation, (2).
      merges: how often (3) is done. fraction: its n over the rows.
      faithful: as the published code: (3) merges over ends of strokes, and row 0 is the first
        movement with its pen up, in place of (0, 0, 1).
      longest: the most rows a line may have; 0 for any number.
      farthest: the greatest |dx| or |dy| that a line may have.
    """

    level: bool = False
    upright: bool = False
    spacing: float = 0.0
    scale: bool = True
    merges: int = 3
    fraction: float = 0.2
    faithful: bool = False
    longest: int = 488
    farthest: float = 15.0

    def __post_init__(self) -> None:
        require_non_negative(self, "spacing", "merges", "longest")
        require_fraction(self, "fraction")
        require(self.farthest > 0, "farthest", self.farthest, "a positive number")

    def __call__(self, strokes: Sequence[Stroke]) -> Rows:
        """The rows of one line; InvalidValue where it is none, is too long, or jumps too far."""
        strokes = [np.asarray(stroke, float) for stroke in strokes if len(stroke)]
        if strokes and np.isfinite(np.concatenate(strokes)).all():
            strokes = level(strokes) if self.level else strokes
            strokes = upright(strokes) if self.upright else strokes
            height = np.ptp(np.concatenate(strokes)[:, 1])
            if self.spacing and height > 0:
                strokes = resampled(strokes, self.spacing * height)
        rows = to_rows(strokes)
        if self.faithful:
            require(len(rows) > 1, "strokes", Words("one point"), "at least two")
            rows = rows[1:]
            rows[0, 2] = 1
        rows = scaled(rows) if self.scale else rows
        for _ in range(self.merges):
            rows = merged(rows, self.fraction, across=self.faithful)
            rows = scaled(rows) if self.scale else rows
        if self.longest and len(rows) > self.longest:
            raise InvalidValue("strokes", Words(f"{len(rows)} points"), f"at most {self.longest}")
        far = np.abs(rows[:, :2]).max()
        require(
            far <= self.farthest,
            "strokes",
            Words(f"an offset of {far:.3g}"),
            f"at most {self.farthest:g}",
        )
        return rows


PAPER = Preprocessing()
PRESETS = {
    "paper": PAPER,
    "reference": replace(PAPER, faithful=True),
    "none": Preprocessing(scale=False, merges=0, longest=0, farthest=np.inf),
}
