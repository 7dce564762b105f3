"""Fonts as pen paths: single-line fonts as they are, and outline fonts traced.

Units are heights of letters such as x, measured along the pen's path; x goes to the right, y down,
and (0, 0) is where the baseline meets the left edge of a glyph.
"""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from handwriting.skeleton import Path
from handwriting.tracing import even, trace
from options.choices import require
from options.errors import InvalidValue, Words

ASCII = "".join(map(chr, range(32, 127)))  # the printable ones
LOW = "acemnorsuvwxz"  # letters as high as x
X_HEIGHT = 60  # pixels, at which outlines are traced
TOKEN = re.compile(r"[A-Za-z]|-?\d*\.?\d+(?:e-?\d+)?")
SPACING = 0.03  # between points of a glyph's paths
CURVE_POINTS = 12  # that stand for a cubic curve


@dataclass(frozen=True)
class Glyph:
    """How one character is drawn, and how far the next one's left edge is from its own."""

    strokes: tuple[Path, ...]
    advance: float


@dataclass(frozen=True)
class PenFont:
    """Glyphs by character, each in units of the height of x."""

    name: str
    glyphs: dict[str, Glyph]

    def glyph(self, character: str) -> Glyph:
        """The glyph; InvalidValue that names a character that the font lacks."""
        if character not in self.glyphs:
            raise InvalidValue("text", character, f"a character of the font {self.name}")
        return self.glyphs[character]


def single_line(svg: str, name: str, characters: Iterable[str] = ASCII) -> PenFont:
    """The font of an SVG file whose glyphs are lines; its own y points up.

    InvalidValue where that is no such file or a character is missing.
    """
    try:
        font = ElementTree.fromstring(svg).find(".//{*}font")
        assert font is not None
        default = float(font.get("horiz-adv-x", 0))
        found = {
            glyph.get("unicode", ""): Glyph(
                tuple(_subpaths(glyph.get("d", ""))), float(glyph.get("horiz-adv-x", default))
            )
            for glyph in font.findall("{*}glyph")
        }
    except (ElementTree.ParseError, AssertionError, ValueError, StopIteration) as error:
        raise InvalidValue(name, but=f"it is no SVG font: {error!r}") from None
    return _scaled(name, found, characters)


def _subpaths(d: str) -> Iterable[Path]:
    """The lines of an SVG path of the commands M, L, C and Z, all absolute."""
    tokens = TOKEN.findall(d)
    at, command = 0, ""
    points: list[np.ndarray] = []

    def numbers(count: int) -> np.ndarray:
        nonlocal at
        at += count
        return np.array([float(token) for token in tokens[at - count : at]]).reshape(-1, 2)

    while at < len(tokens):
        if tokens[at].isalpha():
            command, at = tokens[at], at + 1
        match command:
            case "M":
                yield from _line(points)
                points, command = [*numbers(2)], "L"
            case "L":
                points += [*numbers(2)]
            case "C":
                points += [*_cubic(points[-1], *numbers(6))]
            case "Z":
                points += points[:1]
            case _:
                raise ValueError(f"path command {command!r}")
    yield from _line(points)


def _line(points: list[np.ndarray]) -> Iterable[Path]:
    if len(points) > 1:
        yield np.array(points) * [1, -1]


def _cubic(p: np.ndarray, q: np.ndarray, r: np.ndarray, s: np.ndarray) -> Path:
    t = np.linspace(0, 1, CURVE_POINTS + 1)[1:, None]
    return (1 - t) ** 3 * p + 3 * t * (1 - t) ** 2 * q + 3 * t**2 * (1 - t) * r + t**3 * s


def traced(outlines: bytes, name: str, characters: Iterable[str] = ASCII) -> PenFont:
    """An outline font (TrueType, WOFF, ...) as the paths that `tracing.trace` finds in its glyphs.

    InvalidValue where Pillow cannot read it, or a character is missing.
    """
    try:
        small = _opened(outlines, 100)
        font = _opened(outlines, round(100 * X_HEIGHT / -small.getbbox("x", anchor="ls")[1]))
    except (OSError, ZeroDivisionError, OverflowError) as error:
        raise InvalidValue(name, but=f"it is no font: {error}") from None
    glyphs = {
        character: Glyph(tuple(_strokes(font, character)), font.getlength(character))
        for character in characters
    }
    return _scaled(name, glyphs, characters)


def _opened(outlines: bytes, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(outlines), size, layout_engine=ImageFont.Layout.BASIC)


def _strokes(font: ImageFont.FreeTypeFont, character: str) -> list[Path]:
    left, top, right, bottom = map(int, font.getbbox(character, anchor="ls"))
    image = Image.new("L", (right - left + 2, bottom - top + 2))
    draw = ImageDraw.Draw(image)
    draw.text((1 - left, 1 - top), character, font=font, fill=255, anchor="ls")
    ink = np.asarray(image) > 127
    return [path + [left - 1, top - 1] for path in trace(ink)]


def _scaled(name: str, glyphs: dict[str, Glyph], characters: Iterable[str]) -> PenFont:
    """The font in heights of x, with points evenly along its paths."""
    missing = [c for c in characters if c not in glyphs or not (glyphs[c].strokes or c == " ")]
    got = Words(f"a font without {''.join(missing)!r}")
    require(not missing, name, got, "all of the characters")
    unit = np.median([np.ptp(np.concatenate(glyphs[c].strokes)[:, 1]) for c in LOW])
    return PenFont(name, {c: _resized(glyphs[c], 1 / unit) for c in characters})


def _resized(glyph: Glyph, factor: float) -> Glyph:
    strokes = tuple(even(path * factor, SPACING) for path in glyph.strokes)
    return Glyph(strokes, glyph.advance * factor)
