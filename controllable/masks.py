"""Masks of images: 1 where known, 0 where to be completed, (height, width) float32.

A kind of mask is a class with its sizes as fields; lengths are fractions of the image, so that one
mask serves every resolution. `Together` hides what any of its two hides, and may hold itself.
"""

import dataclasses
import math
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageDraw

from options.choices import (
    choose,
    did_you_mean_path,
    require,
    require_at_least_one,
    require_non_negative,
    require_positive,
)
from options.errors import InvalidValue, Words
from options.fields import chosen


@runtime_checkable
class Mask(Protocol):
    """A kind of mask: a frozen dataclass of its own sizes."""

    def check(self) -> None:
        """InvalidValue for what is not there to be read; the others have nothing to check."""
        ...

    def __call__(self, height: int, width: int) -> np.ndarray:
        """1 where known, (height, width) float32."""
        ...


class _Shape:
    """A mask that needs no file."""

    def check(self) -> None:
        pass


def _require_part(owner: object, *fields: str) -> None:
    """InvalidValue unless these fields are parts of an image, in (0, 1]."""
    require_positive(owner, *fields)
    for field in fields:
        value = getattr(owner, field)
        require(value <= 1, field, value, "a number in (0, 1]")


@dataclasses.dataclass(frozen=True)
class Box(_Shape):
    """A hidden box in the middle.

    Attributes:
      fraction: of each side.
    """

    fraction: float = 0.5

    def __post_init__(self) -> None:
        _require_part(self, "fraction")

    def __call__(self, height: int, width: int) -> np.ndarray:
        mask = np.ones((height, width), np.float32)
        rest = (1 - self.fraction) / 2
        top, left = round(height * rest), round(width * rest)
        mask[top : height - top, left : width - left] = 0
        return mask


@dataclasses.dataclass(frozen=True)
class Rectangle(_Shape):
    """A hidden rectangle anywhere, at least a pixel wide.

    Attributes:
      top, left: of its corner, as fractions of the height and of the width.
      height, width: of the rectangle, likewise.
    """

    top: float = 0.5
    left: float = 0.125
    height: float = 0.25
    width: float = 0.75

    def __post_init__(self) -> None:
        require_non_negative(self, "top", "left")
        _require_part(self, "height", "width")
        for start, length in (("top", "height"), ("left", "width")):
            first, long = getattr(self, start), getattr(self, length)
            require(first + long <= 1, start, first, f"at most 1 - {length} = {1 - long:g}")

    def __call__(self, height: int, width: int) -> np.ndarray:
        mask = np.ones((height, width), np.float32)
        rows = _pixels(self.top, self.height, height)
        mask[rows, _pixels(self.left, self.width, width)] = 0
        return mask


def _pixels(start: float, length: float, side: int) -> slice:
    """A part of a side, at least one pixel."""
    first = min(round(start * side), side - 1)
    return slice(first, max(first + 1, round((start + length) * side)))


@dataclasses.dataclass(frozen=True)
class Half(_Shape):
    """A hidden half.

    Attributes:
      side: "right", "left", "top" or "bottom".
    """

    side: str = "right"

    def __post_init__(self) -> None:
        self._hidden(2, 2)

    def _hidden(self, height: int, width: int) -> tuple[slice, slice]:
        every = slice(None)
        sides = {
            "right": (every, slice(width // 2, None)),
            "left": (every, slice(None, width // 2)),
            "top": (slice(None, height // 2), every),
            "bottom": (slice(height // 2, None), every),
        }
        return choose(sides, self.side, "side")

    def __call__(self, height: int, width: int) -> np.ndarray:
        mask = np.ones((height, width), np.float32)
        mask[self._hidden(height, width)] = 0
        return mask


@dataclasses.dataclass(frozen=True)
class Circle(_Shape):
    """A hidden disc in the middle.

    Attributes:
      fraction: its diameter, of the shorter side.
    """

    fraction: float = 0.6

    def __post_init__(self) -> None:
        _require_part(self, "fraction")

    def __call__(self, height: int, width: int) -> np.ndarray:
        y, x = np.mgrid[:height, :width]
        distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
        return (distance > self.fraction * min(height, width) / 2).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Patches(_Shape):
    """Squares on a grid, some of them hidden at random.

    Attributes:
      fraction: of the squares, that are hidden; at least one is.
      size: of a square, in pixels.
      seed: of the choice.
    """

    fraction: float = 0.5
    size: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        _require_part(self, "fraction")
        require_at_least_one(self, "size")
        require_non_negative(self, "seed")

    def __call__(self, height: int, width: int) -> np.ndarray:
        rows, columns = -(-height // self.size), -(-width // self.size)
        cells = np.ones(rows * columns, np.float32)
        hidden = max(1, round(self.fraction * cells.size))
        cells[np.random.default_rng(self.seed).permutation(cells.size)[:hidden]] = 0
        square = np.ones((self.size, self.size), np.float32)
        return np.kron(cells.reshape(rows, columns), square)[:height, :width]


@dataclasses.dataclass(frozen=True)
class RandomPixels(_Shape):
    """Single pixels hidden at random.

    Attributes:
      fraction: of the pixels, that are hidden; at least one is.
      seed: of the choice.
    """

    fraction: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        Patches(self.fraction, 1, self.seed)

    def __call__(self, height: int, width: int) -> np.ndarray:
        return Patches(self.fraction, 1, self.seed)(height, width)


@dataclasses.dataclass(frozen=True)
class Irregular(_Shape):
    """Hidden strokes of a round brush that wanders (free-form masks, Yu et al. 2019, alg. 1).

    Attributes:
      strokes: how many.
      turns: of each, most of which are sharp.
      width: of the brush, as a fraction of the shorter side.
      length: of the way between two turns, on average, likewise.
      seed: of places and turns.
    """

    strokes: int = 4
    turns: int = 6
    width: float = 0.1
    length: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least_one(self, "strokes", "turns")
        _require_part(self, "width", "length")
        require_non_negative(self, "seed")

    def __call__(self, height: int, width: int) -> np.ndarray:
        random = np.random.default_rng(self.seed)
        side = min(height, width)
        brush = max(1.0, self.width * side)
        canvas = Image.new("1", (width, height), 1)
        draw = ImageDraw.Draw(canvas)
        for _ in range(self.strokes):
            place = random.uniform(0, 1, 2) * (width - 1, height - 1)
            heading = random.uniform(0, 2 * math.pi)
            for _ in range(self.turns + 1):
                way = random.uniform(0.5, 1.5) * self.length * side
                end = place + way * np.array([math.cos(heading), math.sin(heading)])
                end = np.clip(end, 0, (width - 1, height - 1))
                draw.line((*place, *end), fill=0, width=round(brush))
                corners = (*(end - brush / 2), *(end + brush / 2))
                draw.ellipse(corners, fill=0)
                place, heading = end, heading + math.pi + random.uniform(-1.2, 1.2)
        return np.asarray(canvas).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A mask drawn as an image of the model's size: white is known, black is hidden.

    Attributes:
      path: of the image file.
    """

    path: str = ""

    def check(self) -> None:
        near = did_you_mean_path(self.path) if self.path else ""
        there = Path(self.path).is_file()
        require(there, "path", self.path, f"the path of an image, white where known{near}")

    def __call__(self, height: int, width: int) -> np.ndarray:
        """InvalidValue for no image, one of another size, or with more than the two shades."""
        try:
            with Image.open(self.path) as image:
                values = np.asarray(image.convert("L"))
        except OSError as error:
            why = f"{self.path} cannot be read as an image: {error}"
            raise InvalidValue("path", but=why) from None
        if values.shape != (height, width):
            got = Words(f"{self.path} of {values.shape[0]} x {values.shape[1]} pixels")
            raise InvalidValue("path", got, f"{height} x {width}")
        if not np.isin(values, (0, 255)).all():
            found = np.unique(values)
            shades = f"{found.size} shades ({found[0]} to {found[-1]}) in {self.path}"
            raise InvalidValue("path", Words(shades), "black (hidden) and white (known) alone")
        return (values == 255).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Together:
    """What either of two masks hides; of three, the second is such a pair again.

    Attributes:
      first, second: masks of any kind.
    """

    first: Mask = chosen(lambda: MASKS, Box(0.25))
    second: Mask = chosen(lambda: MASKS, RandomPixels(0.25))

    def check(self) -> None:
        self.first.check()
        self.second.check()

    def __call__(self, height: int, width: int) -> np.ndarray:
        return np.minimum(self.first(height, width), self.second(height, width))


MASKS: dict[str, type[Mask]] = {
    "box": Box,
    "rectangle": Rectangle,
    "half": Half,
    "circle": Circle,
    "patches": Patches,
    "pixels": RandomPixels,
    "irregular": Irregular,
    "drawn": Drawn,
    "together": Together,
}
