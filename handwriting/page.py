"""Lines of writing on a page: of one scale, each on its baseline, a little uneven as by hand.

scale       one for all lines: the median height of the letter x (`handwriting.body`) becomes
            `Layout.x_height`, or less where else the widest line would not fit              (1)
line i      its slope taken out, its baseline at y = top + i line_height                     (2)
drift       then moved to the right by 2 |a|, down by b, and tilted so that its right end is
            lower by c; a, b, c ~ N(0, drift^2), for each line anew                          (3)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from data.strokes import Line
from handwriting.body import Body, body
from handwriting.drawing import Drawing
from handwriting.preprocessing import Stroke, to_strokes
from options.choices import require, require_non_negative, require_positive
from options.errors import Words

CAPITALS = 1.5  # height of capitals and digits, over that of the letter x
LARGEST = 3.0  # of a, b and c, in standard deviations


@dataclass(frozen=True)
class Layout:
    """Of a page, in millimetres.

    Attributes:
      width, height: of the page; 0 for as much as the lines need.
      x_height: of the letter x, unless lines would be too wide.
      line_height: from one baseline to the next.
      left, right, top, bottom: margins; the first baseline is `line_height` below the upper one.
      drift: standard deviation of what (3) moves the lines by.
      seed: of the drift.
    """

    width: float = 210.0
    height: float = 297.0
    x_height: float = 2.5
    line_height: float = 10.0
    left: float = 20.0
    right: float = 15.0
    top: float = 15.0
    bottom: float = 15.0
    drift: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "x_height", "line_height")
        names = ("width", "height", "left", "right", "top", "bottom", "drift", "seed")
        require_non_negative(self, *names)
        twice = 2 * self.x_height
        require(self.line_height >= twice, "line_height", self.line_height, f"at least {twice:g}")
        require(self.room() > 0, "width", self.width, "more than its margins and drift")

    def room(self) -> float:
        """Millimetres for a line; infinite where the page is as wide as its lines."""
        apart = self.left + self.right + 2 * LARGEST * self.drift
        return self.width - apart if self.width else np.inf

    def lines(self) -> float:
        """How many lines fit; infinite where the page is as high as they need."""
        apart = self.top + self.bottom
        return (self.height - apart) // self.line_height if self.height else np.inf


A4 = Layout()


def page(lines: Sequence[Line], layout: Layout = A4) -> Drawing:
    """Lines of writing as a drawing in millimetres. A line without rows is left empty.

    The text is that of all lines, and the writer that of all, if there is but one.
    InvalidValue where there is nothing to write, or there are more lines than fit.
    """
    require_room(layout, len(lines))
    strokes = [to_strokes(line.offsets) if len(line.offsets) else [] for line in lines]
    require(any(strokes), "lines", Words("nothing to write"), "at least one line with points")
    bodies = [body(of) if of else None for of in strokes]
    level = [b.levelled(of) if b else [] for b, of in zip(bodies, strokes, strict=True)]
    scale = _scale(lines, bodies, level, layout)
    drawn: list[Stroke] = []
    for number, of in enumerate(level):
        if of:
            left = min(stroke[:, 0].min() for stroke in of)
            of = [(stroke - [left, 0]) * scale for stroke in of]
            drawn += _placed(of, number, layout)
    writers = {line.writer for line in lines if len(line.offsets)}
    return Drawing(
        tuple(drawn),
        layout.width or max(stroke[:, 0].max() for stroke in drawn) + layout.right,
        layout.height or layout.top + len(lines) * layout.line_height + layout.bottom,
        "\n".join(line.text for line in lines),
        writers.pop() if len(writers) == 1 else "",
    )


def require_room(layout: Layout, lines: int) -> None:
    """InvalidValue where there are more lines than fit."""
    fits, got = layout.lines(), Words(f"{lines} lines")
    require(lines <= fits, "height", got, f"at most {fits:g}, for which there is room")


def shifts(layout: Layout, number: int) -> Float[np.ndarray, "3"]:
    """a, b and c of (3), of the line of this number."""
    rng = np.random.default_rng([layout.seed, number])
    return layout.drift * np.clip(rng.normal(size=3), -LARGEST, LARGEST)


def _scale(
    lines: Sequence[Line],
    bodies: Sequence[Body | None],
    level: Sequence[list[Stroke]],
    layout: Layout,
) -> float:
    """(1): millimetres in a unit.

    Of lines most of whose characters are small letters; where there are none, what was measured is
    the height of capitals.
    """
    found = [(b.height, _small(line.text)) for line, b in zip(lines, bodies, strict=True) if b]
    heights = [height for height, small in found if small and height]
    heights = heights or [height / CAPITALS for height, _ in found if height]
    widths = [np.ptp(np.concatenate(of)[:, 0]) for of in level if of]
    widest = float(max(widths)) or 1.0
    wanted = layout.x_height / float(np.median(heights)) if heights else 1.0
    return min(wanted, layout.room() / widest)


def _small(text: str) -> bool:
    """Whether most characters are small letters, as they are of a text that is not known."""
    characters = "".join(text.split())
    return 2 * sum(character.islower() for character in characters) >= len(characters)


def _placed(strokes: Sequence[Stroke], number: int, layout: Layout) -> list[Stroke]:
    """(2) and (3) of the line of this number, whose strokes begin at 0."""
    a, b, c = shifts(layout, number)
    place = [layout.left + 2 * abs(a), layout.top + (number + 1) * layout.line_height + b]
    width = max(stroke[:, 0].max() for stroke in strokes)
    tilt = c / max(width, layout.line_height)
    return [stroke + place + tilt * stroke[:, :1] * [0, 1] for stroke in strokes]
