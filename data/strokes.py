"""Lines of handwriting as sequences of pen movements.

Row i of a line goes to its point i: (dx, dy, pen), dy up; pen is 1 where the pen travels there
above the paper, as it does in row 0, which is (0, 0, 1) or comes from outside of the line. An
`.npz` file holds lines of different lengths end to end, see `data.line_file`; for each split, here
"train", their rows are

    train_offsets  int16 (points, 2), (dx, dy) in `unit`
    train_pen      uint8 (points,), 0 or 1
    unit           float64 (), what 1 is in the units of the lines

`write` makes such a file. One with "train" alone is all there is of every split, of which
`data.holdout` sets some aside. `data/strokes.npz` has lines derived from fonts, see data/README.md.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from data.line_file import Files, expect, file_at, opened, packed, rows_of, splits_of
from data.source import Records
from data.styled_lines import LineArrays, StyledLines
from options.choices import require, require_non_negative
from storage.pictures import write_npz

EMBEDDED = Path(__file__).parent / "strokes.npz"


class Line(NamedTuple):
    """One line: its rows (dx, dy, pen), its text and the writer's name."""

    offsets: Float[np.ndarray, "n 3"]
    text: str
    writer: str


@dataclass(frozen=True)
class Strokes:
    """A file of lines; see `data.strokes`.

    Attributes:
      path: of the file; empty for the embedded lines, which are derived from fonts.
      length: rows that every line is padded to, without the longer ones; 0 for as many as the
        longest has in any split, rounded up to a multiple of 8.
      characters: the same for the texts.
      replacement: what characters become that no training text has; empty, they are an error.
    """

    path: str = ""
    length: int = 0
    characters: int = 0
    replacement: str = ""

    def __post_init__(self) -> None:
        require_non_negative(self, "length", "characters")

    @property
    def _file(self) -> Path:
        return file_at(self.path, EMBEDDED)

    def splits(self) -> list[str]:
        """Those that the file has, the training's first."""
        return splits_of(opened(self._file, "strokes", _check))

    def read(self, split: str = "train") -> "StrokeSource":
        """The lines of a split; InvalidValue where the file is none, or lacks the split."""
        arrays = opened(self._file, "strokes", _check)
        given = LineArrays.of(self._file, arrays, split, self.replacement)
        return StrokeSource(given, (self.length, self.characters), float(arrays["unit"]))


class StrokeSource(StyledLines):
    """Lines of one split, padded to (length, 3) float32 and masked by point; see `StyledLines`."""

    dtype = np.dtype(np.float32)
    length_field, rows = "length", "points"
    multiple = 8  # networks halve lengths three times

    def __init__(self, given: LineArrays, sizes: tuple[int, int], unit: float) -> None:
        super().__init__(given, sizes)
        self.shape = (self.padded_rows, 3)
        self._offsets, self._pen, self._unit = given.arrays["offsets"], given.arrays["pen"], unit

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """As `Source.take`, in one array; 0 in the padding."""
        assert self.shape is not None
        at, mask = self._places(indices, self.shape[0])
        rows = np.concatenate([self._offsets[at] * self._unit, self._pen[at][..., None]], -1)
        images = np.where(mask[..., None], rows, 0).astype(np.float32)
        return self._records(indices, images, mask[..., None])

    def line(self, index: int) -> Line:
        """A line without its padding."""
        rows = self.take(np.array([index]))["image"][0][: self.lengths[index]]
        return Line(rows, self.texts[index], self.class_names[self.writers[index]])

    def checksum(self) -> str:
        """See `Source.checksum`; of the lines as the file has them."""
        crc = zlib.crc32(repr((self.shape, self.class_names, self._unit)).encode())
        for array in (self._offsets, self._pen, self._starts, self.lengths, self.tokens):
            crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
        return f"{zlib.crc32(self.writers.tobytes(), crc):08x}"

    @property
    def std(self) -> float:
        """The one standard deviation of dx and dy, over all lines; for the space `strokes`."""
        mask = np.zeros(len(self._offsets) + 1, int)
        np.add.at(mask, self._starts, 1)
        np.add.at(mask, self._starts + self.lengths, -1)
        return float(self._offsets[np.cumsum(mask[:-1]) > 0].std() * self._unit)


def write(path: str | Path, about: str, splits: Mapping[str, Iterable[Line]], unit: float) -> None:
    """Write lines to a file; their points are rounded to multiples of `unit`.

    InvalidValue for a split without lines, or an offset beyond what int16 holds of the unit.
    """
    lines = {split: list(found) for split, found in splits.items()}
    arrays: dict[str, Any] = packed(about, lines) | {"unit": np.array(float(unit))}
    for split, found in lines.items():
        rows = np.concatenate([line.offsets for line in found])
        steps = np.concatenate([_rounded(line.offsets[:, :2] / unit) for line in found])
        largest = np.abs(steps).max() * unit
        require(largest <= unit * 2**15 - unit, split, largest, f"offsets up to {unit * 2**15:g}")
        arrays |= {
            f"{split}_offsets": steps.astype(np.int16),
            f"{split}_pen": rows[:, 2].astype(np.uint8),
            f"{split}_lengths": np.array([len(line.offsets) for line in found], np.int32),
        }
    write_npz(path, **arrays)


def _rounded(offsets: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Whole offsets between whole points, so that what rounding takes off does not add up."""
    points = np.rint(np.cumsum(offsets, axis=0))
    return np.diff(points, axis=0, prepend=0)


def _check(arrays: Files) -> None:
    """InvalidValue where the rows are not what `data.strokes` says."""
    unit = float(expect(arrays, "unit", "f", ()))
    require(0 < unit < np.inf, "unit", unit, "a positive number")
    for split in splits_of(arrays):
        points = rows_of(arrays, split)
        expect(arrays, f"{split}_offsets", "i", (points, 2))
        pen = expect(arrays, f"{split}_pen", "u", (points,))
        require(pen.max() <= 1, f"{split}_pen", int(pen.max()), "0 or 1")
