"""Lines of handwriting as sequences of pen movements.

Row i of a line goes to its point i: (dx, dy, pen), dy up; pen is 1 where the pen travels there
above the paper, as it does in row 0, which is (0, 0, 1) or comes from outside of the line. An
`.npz` file holds lines of different lengths end to end, for each split, here "train",

    train_offsets  int16 (points, 2), (dx, dy) in `unit`
    train_pen      uint8 (points,), 0 or 1
    train_lengths  int32 (lines,), how many points each line has
    train_texts    text (lines,)
    train_writers  int32 (lines,), the writer's number
    writer_names   text (writers,), for all splits
    unit           float64 (), what 1 is in the units of the lines
    about          text (), what the lines are; reports name the set so

`write` makes such a file. One with "train" alone is all there is of every split, of which
`data.holdout` sets some aside. `data/strokes.npz` has lines derived from fonts, see data/README.md.
"""

import copy
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Int32, Shaped

from data.alphabet import Alphabet
from data.source import Record, Records, Source
from options.choices import did_you_mean_path, require, require_non_negative
from options.errors import InvalidValue, Words
from storage.npz import UNREADABLE, read, stand_ins
from storage.pictures import write_npz

EMBEDDED = Path(__file__).parent / "strokes.npz"
TRAIN = "train"  # the split that there always is
MULTIPLE = 8  # of which padded lengths are, for networks that halve them three times
ALIKE = ("offsets", "pen", "lengths", "texts", "writers")  # arrays of a split
MOST = 2**31  # bytes that a file may unfold to


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
        return Path(self.path).expanduser() if self.path else EMBEDDED

    def splits(self) -> list[str]:
        """Those that the file has, the training's first."""
        return sorted(_splits(_opened(self._file)), key=lambda name: name != TRAIN)

    def read(self, split: str = "train") -> "StrokeSource":
        """The lines of a split; InvalidValue where the file is none, or lacks the split."""
        path = self._file
        arrays = _opened(path)
        splits = _splits(arrays)
        unsplit = splits == ["train"]
        split = "train" if unsplit else split
        require(split in splits, "split", split, f"one of {splits}, which {path} has")
        of_training = arrays.get("train_texts", arrays[f"{split}_texts"])
        longest, most = (
            max(int(sizes(name).max()) for name in splits)
            for sizes in (
                lambda name: arrays[f"{name}_lengths"],
                lambda name: np.strings.str_len(arrays[f"{name}_texts"]),
            )
        )
        source = StrokeSource(
            f"{arrays['about']}, {split}",
            {name: arrays[f"{split}_{name}"] for name in ALIKE},
            float(arrays["unit"]),
            tuple(map(str, arrays["writer_names"])),
            Alphabet.of(map(str, of_training), self.replacement),
            (self.length or -(-longest // MULTIPLE) * MULTIPLE, self.characters or most),
        )
        source.unsplit = unsplit
        return source


class StrokeSource(Source):
    """Lines of one split, padded to (length, 3) float32; the classes are the writers.

    Records also have "text", the tokens int32 (characters,), padded by 0, "writer", int32, and
    "style", features of an image of the writer's hand, where `with_style` says which.

    Attributes:
      alphabet: of the tokens.
      texts, writers: of every line; writers are numbers of `class_names`.
    """

    dtype = np.dtype(np.float32)
    masked = True

    def __init__(
        self,
        name: str,
        arrays: Mapping[str, np.ndarray],
        unit: float,
        writer_names: tuple[str, ...],
        alphabet: Alphabet,
        sizes: tuple[int, int],
    ) -> None:
        """arrays: those of a split, by ALIKE. sizes: points and characters to pad to."""
        length, characters = sizes
        self.name, self.class_names, self.alphabet = name, writer_names, alphabet
        self.shape = (length, 3)
        self._offsets, self._pen, self._unit = arrays["offsets"], arrays["pen"], unit
        starts = np.cumsum(arrays["lengths"], dtype=np.int64) - arrays["lengths"]
        fits = (arrays["lengths"] <= length) & (np.strings.str_len(arrays["texts"]) <= characters)
        got = Words(
            f"{name}, of which no line has at most {length} points and {characters} letters"
        )
        require(fits.any(), "length", got, "a greater length")
        if lost := np.count_nonzero(~fits):
            self.remark = f"{lost} of {len(fits)} lines are longer than {length} points or "
            self.remark += f"{characters} characters, and left out"
        self._starts, self._lengths = starts[fits], arrays["lengths"][fits]
        self.texts: Sequence[str] = [str(text) for text in arrays["texts"][fits]]
        self.writers: Int32[np.ndarray, " n"] = arrays["writers"][fits]
        self._tokens = np.stack([alphabet.encode(text, characters) for text in self.texts])
        self._style: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Record:
        found = self.take(np.array([index]))
        record = Record(
            image=found["image"][0],
            label=int(found["label"][0]),
            mask=found["mask"][0],
            text=found["text"][0],
            writer=int(found["writer"][0]),
        )
        if "style" in found:
            record["style"] = found["style"][0]
        return record

    @property
    def lengths(self) -> Int32[np.ndarray, " n"]:
        """Points of every line."""
        return self._lengths

    @property
    def tokens(self) -> Int32[np.ndarray, "n characters"]:
        """The texts of every line."""
        return self._tokens

    def with_style(
        self, features: Shaped[np.ndarray, "n places c"], of: Int[np.ndarray, " n"]
    ) -> "StrokeSource":
        """The same lines, line i in the style of line of[i], by the features of all lines."""
        found = copy.copy(self)
        found._style = features, of
        return found

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """As `Source.take`, in one array; 0 in the padding."""
        assert self.shape is not None
        steps = np.arange(self.shape[0])
        mask = steps < self._lengths[indices, None]
        at = np.where(mask, self._starts[indices, None] + steps, 0)
        rows = np.concatenate([self._offsets[at] * self._unit, self._pen[at][..., None]], -1)
        writers = self.writers[indices]
        found = Records(
            image=np.where(mask[..., None], rows, 0).astype(np.float32),
            label=writers,
            mask=mask[..., None],
            text=self._tokens[indices],
            writer=writers,
        )
        if self._style is not None:
            features, of = self._style
            found["style"] = features[of[indices]].astype(np.float32)
        return found

    def line(self, index: int) -> Line:
        """A line without its padding."""
        rows = self.take(np.array([index]))["image"][0][: self._lengths[index]]
        return Line(rows, self.texts[index], self.class_names[self.writers[index]])

    def each_label(self) -> Int32[np.ndarray, "n"]:
        return self.writers

    def checksum(self) -> str:
        """See `Source.checksum`; of the lines as the file has them."""
        crc = zlib.crc32(repr((self.shape, self.class_names, self._unit)).encode())
        for array in (self._offsets, self._pen, self._starts, self._lengths, self._tokens):
            crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
        return f"{zlib.crc32(self.writers.tobytes(), crc):08x}"

    @property
    def std(self) -> float:
        """The one standard deviation of dx and dy, over all lines; for the space `strokes`."""
        mask = np.zeros(len(self._offsets) + 1, int)
        np.add.at(mask, self._starts, 1)
        np.add.at(mask, self._starts + self._lengths, -1)
        return float(self._offsets[np.cumsum(mask[:-1]) > 0].std() * self._unit)


def write(path: str | Path, about: str, splits: Mapping[str, Iterable[Line]], unit: float) -> None:
    """Write lines to a file; their points are rounded to multiples of `unit`.

    InvalidValue for a split without lines, or an offset beyond what int16 holds of the unit.
    """
    lines = {split: list(found) for split, found in splits.items()}
    names = sorted({line.writer for found in lines.values() for line in found})
    number = {name: k for k, name in enumerate(names)}
    arrays: dict[str, Any] = {
        "writer_names": np.array(names), "unit": np.array(float(unit)), "about": np.array(about),
    }  # fmt: skip
    for split, found in lines.items():
        require(found, split, Words("no line"), "at least one")
        rows = np.concatenate([line.offsets for line in found])
        steps = np.concatenate([_rounded(line.offsets[:, :2] / unit) for line in found])
        largest = np.abs(steps).max() * unit
        require(largest <= unit * 2**15 - unit, split, largest, f"offsets up to {unit * 2**15:g}")
        arrays |= {
            f"{split}_offsets": steps.astype(np.int16),
            f"{split}_pen": rows[:, 2].astype(np.uint8),
            f"{split}_lengths": np.array([len(line.offsets) for line in found], np.int32),
            f"{split}_texts": np.array([line.text for line in found]),
            f"{split}_writers": np.array([number[line.writer] for line in found], np.int32),
        }
    write_npz(path, **arrays)


def _rounded(offsets: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Whole offsets between whole points, so that what rounding takes off does not add up."""
    points = np.rint(np.cumsum(offsets, axis=0))
    return np.diff(points, axis=0, prepend=0)


def _opened(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file as it is now."""
    return _arrays(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=4)
def _arrays(path: Path, changed: int) -> dict[str, np.ndarray]:
    """All arrays of a file; InvalidValue where they do not belong together.

    changed: when the file was, so that another one in its place is read.
    """
    try:
        stated = stand_ins(path)
        size = sum(array.nbytes for array in stated.values())
        require(size <= MOST, "path", Words(f"{path} with {size} bytes"), f"at most {MOST}")
        arrays = read(path, stated)
        _check(arrays)
    except InvalidValue as error:
        raise InvalidValue("path", Words(f"{path}: {error}")) from None
    except UNREADABLE as error:
        expected = f"an .npz file of strokes: {error}{did_you_mean_path(path)}"
        raise InvalidValue("path", str(path), expected) from None
    return arrays


def _splits(arrays: Mapping[str, np.ndarray]) -> list[str]:
    return sorted(name.removesuffix("_lengths") for name in arrays if name.endswith("_lengths"))


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    """InvalidValue where arrays are missing, or are not what `data.strokes` says."""

    def expect(name: str, kinds: str, shape: tuple[int, ...]) -> np.ndarray:
        require(name in arrays, name, Words("nothing"), "an array of this name")
        found = arrays[name]
        alike = len(shape) == found.ndim and all(
            n in (m, -1) for n, m in zip(shape, found.shape, strict=True)
        )
        got = Words(f"{found.dtype} {found.shape}")
        require(alike and found.dtype.kind in kinds, name, got, f"{shape} of the kinds {kinds!r}")
        return found

    unit = float(expect("unit", "f", ()))
    require(0 < unit < np.inf, "unit", unit, "a positive number")
    expect("about", "U", ())
    writers = len(expect("writer_names", "U", (-1,)))
    splits = _splits(arrays)
    require(splits, "train_lengths", Words("nothing"), "an array of this name")
    for split in splits:
        lengths = expect(f"{split}_lengths", "iu", (-1,))
        got = Words("no line" if not len(lengths) else f"a line of {lengths.min()} points")
        require(len(lengths) and lengths.min() >= 1, f"{split}_lengths", got, "lines with points")
        points = int(lengths.sum(dtype=object))
        expect(f"{split}_offsets", "i", (points, 2))
        pen = expect(f"{split}_pen", "u", (points,))
        require(pen.max() <= 1, f"{split}_pen", int(pen.max()), "0 or 1")
        expect(f"{split}_texts", "U", (len(lengths),))
        numbers = expect(f"{split}_writers", "iu", (len(lengths),))
        known = 0 <= numbers.min() <= numbers.max() < writers
        got = Words(f"{numbers.min()} to {numbers.max()}")
        require(known, f"{split}_writers", got, f"numbers of the {writers} writers")
