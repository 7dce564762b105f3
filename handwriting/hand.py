"""A hand: how one writer, made up, writes with the letters of a font.

A line of text becomes strokes in four steps:

    1. each letter is placed: the font's glyph, deformed as this hand always deforms this letter, a
       little larger or smaller, higher or lower than the last time;
    2. strokes that nearly touch are joined, where the hand joins its letters;
    3. the whole line is sheared by the slant, bent by a smooth field of displacements (so that no
       two letters are alike), and follows a baseline that climbs and drifts;
    4. the pen goes along it and is seen at equal times, slower where it turns: its speed is

           v = speed (kappa + kappa_0)^(-1/3),   kappa the curvature                    (1)

       the two-thirds power law (Lacquaniti, Terzuolo and Viviani 1983, "The law relating the
       kinematic and figural aspects of drawing movements").

Units are heights of the letter x; x to the right, y down, the baseline at 0.
"""

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from handwriting.pen_font import SPACING, PenFont
from handwriting.skeleton import Path

CORNER = 1.5  # standard deviation of the smoothing that gives corners a curvature, in points
CURVATURE_0 = 0.5  # kappa_0
SLOWEST, FASTEST = 0.3, 1.2  # bounds of v / speed


@dataclass(frozen=True, eq=False)
class Hand:
    """One writer.

    Attributes:
      name: of the writer.
      font: whose letters it writes.
      seed: of the deformations that are always the same.
      size: height of the letter x.
      width: of letters over their width in the font.
      slant: shear to the right, dx over height; negative leans to the left.
      spacing: added between letters.
      word_space: width of a space.
      slope, drift: of the baseline: rise over run, standard deviation between lines, and the
        amplitude of its waves.
      quirk, wobble: standard deviations of displacements that are the same for every such letter,
        and that differ each time.
      unevenness: standard deviation of the logarithm of the size between letters.
      speed: of the pen, units between two points where the path has the curvature 1 - kappa_0.
      joins: gap below which a letter is joined to the one before; 0 for none.
    """

    name: str
    font: PenFont
    seed: int = 0
    size: float = 1.0
    width: float = 1.0
    slant: float = 0.0
    spacing: float = 0.0
    word_space: float = 0.7
    slope: float = 0.01
    drift: float = 0.05
    quirk: float = 0.03
    wobble: float = 0.02
    unevenness: float = 0.03
    speed: float = 0.35
    joins: float = 0.0

    @classmethod
    def of(cls, font: PenFont, number: int, seed: int) -> "Hand":
        """The `number`th hand that writes with the letters of a font, drawn at random.

        The letters of cursive fonts nearly touch, so that `joins` joins them and no others.
        """
        name = f"{font.name}/{number}"
        own = zlib.crc32(f"{seed} {name}".encode())
        rng = np.random.default_rng(own)
        return cls(
            name=name,
            font=font,
            seed=own,
            size=float(np.exp(rng.normal(0, 0.1))),
            width=float(np.exp(rng.normal(0, 0.08))),
            slant=float(np.clip(rng.normal(0.03, 0.13), -0.2, 0.35)),
            spacing=float(np.clip(rng.normal(0.02, 0.05), -0.05, 0.15)),
            word_space=float(rng.uniform(0.6, 1.1)),
            slope=float(rng.uniform(0.003, 0.015)),
            drift=float(rng.uniform(0.02, 0.08)),
            quirk=float(rng.uniform(0.02, 0.05)),
            wobble=float(rng.uniform(0.01, 0.03)),
            unevenness=float(rng.uniform(0.015, 0.045)),
            speed=float(rng.uniform(0.33, 0.42)),
            joins=float(rng.uniform(0.1, 0.2)),
        )

    def write(self, text: str, rng: np.random.Generator) -> list[Path]:
        """The strokes of a line, as points that the pen is seen at; no stroke for a space.

        InvalidValue that names a character that the font lacks.
        """
        size = self.size * np.exp(rng.normal(0, 0.03))
        slant = self.slant + rng.normal(0, 0.02)
        strokes = self._joined(self._placed(text, rng))
        if not strokes:
            return []
        lengths = np.cumsum([len(stroke) for stroke in strokes])[:-1]
        points = np.concatenate(strokes)
        points = points + self.wobble * field(points, rng, count=16)
        points[:, 0] -= slant * points[:, 1]
        points[:, 1] += self._baseline(points[:, 0], rng)
        return [
            seen(stroke, self.speed * np.exp(rng.normal(0, 0.05)) / size) * size
            for stroke in np.split(points, lengths)
        ]

    def _placed(self, text: str, rng: np.random.Generator) -> list[list[Path]]:
        """The strokes of every letter where it stands, letter by letter."""
        x = 0.0
        letters: list[list[Path]] = []
        for character in text:
            if character == " ":
                x += self.word_space * np.exp(rng.normal(0, 0.1))
                letters.append([])
                continue
            glyph = self.font.glyph(character)
            scale = np.exp(rng.normal(0, self.unevenness, 2)) * [self.width, 1]
            place = [x, rng.normal(0, self.unevenness / 2)]
            letters.append([stroke * scale + place for stroke in _quirky(self, character)])
            space = self.spacing + rng.normal(0, self.unevenness / 2)
            x += glyph.advance * scale[0] + space
        return letters

    def _joined(self, letters: list[list[Path]]) -> list[Path]:
        """All strokes in their order, those of neighbouring letters joined that nearly touch."""
        strokes: list[Path] = []
        before: list[Path] = []
        for letter in letters:
            for number, stroke in enumerate(letter):
                if before and number == 0:
                    gap = np.linalg.norm(stroke[0] - strokes[-1][-1])
                    if gap < self.joins and min(len(stroke), len(strokes[-1])) * SPACING > 0.3:
                        stroke = np.concatenate([strokes.pop(), stroke])
                strokes.append(stroke)
            before = letter
        return strokes

    def _baseline(self, x: Float[np.ndarray, " n"], rng: np.random.Generator) -> np.ndarray:
        """How far down the baseline is at each x."""
        lengths = rng.uniform(6, 20, 3)[:, None]
        phases = rng.uniform(0, 2 * np.pi, 3)[:, None]
        waves = np.sin(2 * np.pi * x / lengths + phases).sum(0) / np.sqrt(3)
        return rng.normal(0, self.slope) * x + self.drift * waves


@cache
def _quirky(hand: Hand, character: str) -> list[Path]:
    """The strokes of a letter as a hand always deforms them."""
    strokes = hand.font.glyph(character).strokes
    lengths = np.cumsum([len(stroke) for stroke in strokes])[:-1]
    points = np.concatenate(strokes)
    own = np.random.default_rng([hand.seed, ord(character)])
    return np.split(points + hand.quirk * field(points, own, count=6), lengths)


def field(points: Path, rng: np.random.Generator, count: int) -> Path:
    """A random displacement of every point, of standard deviation 1, smooth over the plane.

    A sum of `count` plane waves, between 1.5 and 4 units long.
    """
    angle = rng.uniform(0, 2 * np.pi, count)
    length = rng.uniform(1.5, 4, count)
    k = 2 * np.pi / length * np.stack([np.cos(angle), np.sin(angle)])
    phase = rng.uniform(0, 2 * np.pi, (2, count))
    size = rng.normal(size=(2, count)) * np.sqrt(2 / count)
    waves = np.sin((points @ k)[:, None] + phase)
    return (waves * size).sum(-1)


def seen(path: Path, speed: float) -> Path:
    """The points at which a pen that follows (1) is seen at equal times; both ends are among them.

    At least two, so that a dot is a short stroke. path: of points that are near each other.
    """
    if len(path) < 4:
        return path[[0, -1]]
    x, y = np.diff(ndimage.gaussian_filter1d(path, CORNER, axis=0, mode="nearest"), axis=0).T
    turn = np.arctan2(x[:-1] * y[1:] - y[:-1] * x[1:], x[:-1] * x[1:] + y[:-1] * y[1:])
    steps = np.hypot(*np.diff(path, axis=0).T)
    curvature = np.abs(turn) / np.maximum((steps[1:] + steps[:-1]) / 2, SPACING / 4)
    v = speed * np.clip((curvature + CURVATURE_0) ** (-1 / 3), SLOWEST, FASTEST)
    v = np.concatenate([v[:1], v, v[-1:]])
    times = np.concatenate([[0.0], np.cumsum(2 * steps / (v[1:] + v[:-1]))])
    wanted = np.linspace(0, times[-1], max(2, round(times[-1]) + 1))
    return np.stack([np.interp(wanted, times, path[:, 0]), np.interp(wanted, times, path[:, 1])], 1)
