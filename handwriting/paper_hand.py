"""A hand on paper: how one writer, made up, writes with an outline font, as a grey image.

A line of text becomes an image of height 64 in five steps:

    1. the font draws the text, at twice the size of the image;
    2. it is sheared by the slant, bent by a smooth field of displacements (so that no two letters
       are alike), and follows a baseline that climbs and drifts;
    3. strokes become thicker or thinner: the blurred image is cut at another level;
    4. ink is as dark as the pen, uneven along the stroke;
    5. paper has its shade, stains and a grain; levels are rounded to multiples of 8, so that a file
       of many lines is small.

Lengths are pixels of the image, of which a line has 64 in height.
"""

import io
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from data.text_lines import HEIGHT
from options.choices import require
from options.errors import InvalidValue, Words

SCALE = 2  # of the image that is drawn and bent first
INK = 47  # height of letters from top to bottom, of a hand of size 1
BASELINE = 43  # rows above it
EDGE = 4  # rows above and below the flat line
LETTERS = "bdfhklgjpqyABCDGKQRST"  # which say how high a font is
CELL = 24  # pixels between nodes of the smooth fields
STEP = 8  # of grey levels
ASCII = "".join(map(chr, range(33, 127)))


@dataclass(frozen=True)
class OutlineFont:
    """A font of outlines (TrueType, WOFF, ...).

    Attributes:
      name: of the font.
      data: the content of its file.
    """

    name: str
    data: bytes

    def sized(self, size: float) -> ImageFont.FreeTypeFont:
        """As Pillow draws it; InvalidValue where the file is no font."""
        try:
            return ImageFont.truetype(io.BytesIO(self.data), size)
        except OSError as error:
            raise InvalidValue(self.name, but=f"it is no font: {error}") from None

    @cached_property
    def unit(self) -> float:
        """Size at which letters are one pixel high, from the highest to the lowest, in the mean
        of the letters that rise, plus that of those that fall."""
        font = self.sized(200)
        boxes = [font.getbbox(letter, anchor="ls") for letter in LETTERS]
        rise, fall = -np.mean([box[1] for box in boxes]), np.sort([box[3] for box in boxes])[-5:]
        require(rise > 0, self.name, Words("a font without letters"), "letters")
        return float(200 / (rise + max(0.0, fall.mean())))

    def lacks(self, characters: str = ASCII) -> str:
        """The characters without a glyph: blank, or drawn as one that no font has."""
        font = self.sized(40)
        unknown = bytes(font.getmask("\U0010fffe"))
        return "".join(
            character
            for character in characters
            if not any(drawn := bytes(font.getmask(character))) or drawn == unknown
        )


@dataclass(frozen=True, eq=False)
class PaperHand:
    """One writer.

    Attributes:
      name: of the writer.
      font: whose letters it writes.
      size: height of letters over that of the mean hand.
      width: of letters over their width in the font.
      slant: shear to the right, dx over height; negative leans to the left.
      slope, drift: of the baseline: rise over run, standard deviation between lines, and the
        amplitude of its waves.
      wobble: standard deviation of the displacements.
      weight: how much thicker strokes are, negative for thinner.
      ink, unevenness: grey level of the pen, and how much lighter it is in places, of 1.
      paper, grain: grey level of the paper, and the standard deviation of its noise.
    """

    name: str
    font: OutlineFont
    size: float = 1.0
    width: float = 1.0
    slant: float = 0.0
    slope: float = 0.004
    drift: float = 0.6
    wobble: float = 0.6
    weight: float = 0.0
    ink: float = 40.0
    unevenness: float = 0.2
    paper: float = 245.0
    grain: float = 1.5

    @classmethod
    def of(cls, font: OutlineFont, number: int, seed: int) -> "PaperHand":
        """The `number`th hand that writes with the letters of a font, drawn at random."""
        name = f"{font.name}/{number}"
        rng = np.random.default_rng(zlib.crc32(f"{seed} {name}".encode()))
        return cls(
            name=name,
            font=font,
            size=float(np.clip(np.exp(rng.normal(0, 0.08)), 0.85, 1.15)),
            width=float(np.exp(rng.normal(0, 0.08))),
            slant=float(np.clip(rng.normal(0.03, 0.12), -0.2, 0.3)),
            slope=float(rng.uniform(0.001, 0.006)),
            drift=float(rng.uniform(0.3, 1.0)),
            wobble=float(rng.uniform(0.35, 0.8)),
            weight=float(rng.uniform(-0.3, 0.6)),
            ink=float(rng.uniform(15, 95)),
            unevenness=float(rng.uniform(0.05, 0.35)),
            paper=float(rng.uniform(225, 254)),
            grain=float(rng.uniform(0.3, 2.0)),
        )

    def write(self, text: str, rng: np.random.Generator) -> UInt8[np.ndarray, "64 width"]:
        """The image of a line of text; InvalidValue where it has no ink.

        A line that would leave the image is made smaller before it is bent; then 5 of 15,000 lines
        touched an edge of the image.
        """
        require(text.strip(), "text", text, "a text with letters")
        flat = self._drawn(text, np.exp(rng.normal(0, 0.03)))
        bent = self._bent(flat, rng)
        ink = self._thickened(bent, rng)
        columns = np.flatnonzero(ink.max(0) > 0.2)
        require(len(columns), "text", text, f"what {self.font.name} draws with ink")
        margin = rng.integers(2, 7, 2)
        left, right = max(0, columns[0] - margin[0]), columns[-1] + 1 + margin[1]
        return self._on_paper(ink[:, left:right], rng)

    def _drawn(self, text: str, factor: float) -> Float[np.ndarray, "128 w"]:
        """The text at SCALE times the size, its baseline at BASELINE, 1 where there is ink."""
        size = self.font.unit * INK * self.size * factor * SCALE
        font = self.font.sized(size)
        left, top, right, bottom = font.getbbox(text, anchor="ls")
        above, below = (BASELINE - EDGE) * SCALE, (HEIGHT - BASELINE - EDGE) * SCALE
        # Moved first, then made smaller.
        room = (above + below) / max(bottom - top, 1)
        if room < 1:
            font = self.font.sized(size * room)
            left, top, right, bottom = font.getbbox(text, anchor="ls")
        baseline = np.clip(BASELINE * SCALE, EDGE * SCALE - top, (HEIGHT - EDGE) * SCALE - bottom)
        margin = 16 * SCALE
        image = Image.new("L", (int(right - left) + 2 * margin, HEIGHT * SCALE))
        draw = ImageDraw.Draw(image)
        draw.text((margin - left, float(baseline)), text, font=font, fill=255, anchor="ls")
        if self.width != 1:
            image = image.resize((round(image.width * self.width), image.height))
        return np.asarray(image, np.float32) / 255

    def _bent(
        self, flat: Float[np.ndarray, "128 w"], rng: np.random.Generator
    ) -> Float[np.ndarray, "128 w"]:
        """The line sheared, bent and on its baseline."""
        height, width = flat.shape
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        slant = self.slant + rng.normal(0, 0.02)
        waves = np.sin(x / (rng.uniform(60, 160) * SCALE) * 2 * np.pi + rng.uniform(0, 2 * np.pi))
        climb = np.clip(rng.normal(0, self.slope) * (x - width / 2), -3 * SCALE, 3 * SCALE)
        dx, dy = (self.wobble * SCALE * smooth((height, width), CELL * SCALE, rng) for _ in "xy")
        at = [y + climb + self.drift * SCALE * waves + dy, x + slant * (y - BASELINE * SCALE) + dx]
        return ndimage.map_coordinates(flat, at, order=1)

    def _thickened(
        self, bent: Float[np.ndarray, "128 w"], rng: np.random.Generator
    ) -> Float[np.ndarray, "64 _"]:
        """Coverage by ink in the image's own pixels: the blurred line cut at a level that differs
        from place to place with the pressure of the pen."""
        blurred = ndimage.gaussian_filter(bent, 0.5 * SCALE)
        pressure = self.weight + 0.15 * smooth(bent.shape, 2 * CELL * SCALE, rng)
        cut = np.clip((blurred - (0.42 - 0.25 * pressure)) * 4 + 0.5, 0, 1)
        width = cut.shape[1] // SCALE
        return cut[:, : width * SCALE].reshape(HEIGHT, SCALE, width, SCALE).mean((1, 3))

    def _on_paper(
        self, ink: Float[np.ndarray, "64 w"], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "64 w"]:
        """Grey levels of the ink on the paper."""
        darkness = 1 - self.unevenness * np.abs(smooth(ink.shape, 6, rng)).clip(0, 1.5) / 1.5
        shade = self.paper + 2 * smooth(ink.shape, 3 * CELL, rng)
        shade = shade + self.grain * rng.standard_normal(ink.shape, np.float32)
        levels = shade + (self.ink - shade) * ink * darkness
        return np.clip(np.rint(levels / STEP) * STEP, 0, 255).astype(np.uint8)


def smooth(
    shape: tuple[int, ...], cell: float, rng: np.random.Generator
) -> Float[np.ndarray, "h w"]:
    """A random field of mean 0 and standard deviation about 1, smooth over `cell` pixels."""
    height, width = shape
    nodes = (int(width // cell) + 4, int(height // cell) + 4)
    coarse = Image.fromarray(rng.standard_normal(nodes[::-1], np.float32))
    fine = coarse.resize((round(nodes[0] * cell), round(nodes[1] * cell)), Image.Resampling.BICUBIC)
    left, top = round(1.5 * cell), round(1.5 * cell)
    return 1.3 * np.asarray(fine)[top : top + height, left : left + width]
