"""Writing on a sheet, as every writer of files takes it, and how it is to look."""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import ImageColor

from handwriting.preprocessing import Stroke
from options.choices import require, require_at_least_one, require_non_negative, require_positive
from options.errors import InvalidValue, Words

# What XML cannot hold.
UNPRINTED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Span(NamedTuple):
    """The points that write one character: those from `start` on, up to but not `end`, counted
    over all strokes; none where they are equal."""

    char: str
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Drawing:
    """Strokes on a sheet. Lengths are in millimetres, x to the right, y down from the upper edge.

    InvalidValue for a size that is none, points that are not finite, text that XML cannot hold and
    spans that reach beyond the points.

    Attributes:
      strokes: in the order of writing, each of one point or more.
      width, height: of the sheet.
      text: that is written, its lines with newlines between.
      writer: whose hand it is.
      spans: of the characters; () where they are not known.
    """

    strokes: tuple[Stroke, ...]
    width: float
    height: float
    text: str = ""
    writer: str = ""
    spans: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        for field in ("width", "height"):
            value = getattr(self, field)
            require(0 < value < np.inf, field, value, "a positive number of millimetres")
        filled = all(len(stroke) and np.isfinite(stroke).all() for stroke in self.strokes)
        got = Words("a stroke without points, or a point that is not finite")
        require(filled, "strokes", got, "points")
        for field in ("text", "writer"):
            unprinted = UNPRINTED.search(getattr(self, field))
            if unprinted:
                raise InvalidValue(field, unprinted[0], "characters that can be printed")
        points = sum(map(len, self.strokes))
        for span in self.spans:
            inside = 0 <= span.start <= span.end <= points
            require(inside, "spans", span, f"a span of the {points} points")


@dataclass(frozen=True)
class Look:
    """How a drawing looks, in whatever file.

    Attributes:
      thickness: of the line, in millimetres.
      colour: of the line, by name or as #rrggbb.
      smooth: whether strokes are curves through their points, or straight from one to the next.
      pixels: width of a PNG.
      gif_pixels: width of a GIF.
      frames: the most that a GIF has.
      speed: of the pen in an animation, in millimetres a second.
      pause: between two strokes, in seconds.
      hold: how long the last frame of a GIF is shown, in seconds.
    """

    thickness: float = 0.4
    colour: str = "#1b2a49"
    smooth: bool = True
    pixels: int = 1600
    gif_pixels: int = 800
    frames: int = 150
    speed: float = 80.0
    pause: float = 0.1
    hold: float = 2.0

    def __post_init__(self) -> None:
        require_positive(self, "thickness", "speed")
        require_non_negative(self, "pause", "hold")
        require_at_least_one(self, "pixels", "gif_pixels", "frames", most=2**15)
        try:
            ImageColor.getrgb(self.colour)
        except ValueError:
            raise InvalidValue("colour", self.colour, "a name, or #rrggbb") from None

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour, each part from 0 to 255."""
        return ImageColor.getrgb(self.colour)[:3]
