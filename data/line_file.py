"""What files of lines of handwriting have in common, whatever a line is an array of.

A line is `lengths[i]` rows of arrays that hold all lines of a split end to end. An `.npz` file has,
for each split, here "train",

    train_lengths  int32 (lines,), how many rows each line has
    train_texts    text (lines,)
    train_writers  int32 (lines,), the writer's number
    writer_names   text (writers,), for all splits
    about          text (), what the lines are; reports name the set so

and the rows, see `data.strokes` and `data.text_lines`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from data.alphabet import Alphabet
from options.choices import did_you_mean_path, require
from options.errors import InvalidValue, Words
from storage.npz import UNREADABLE, read, stand_ins

TRAIN = "train"  # the split that there always is
MOST = 2**34  # bytes that a file may unfold to
Files = Mapping[str, np.ndarray]


@runtime_checkable
class Written(Protocol):
    """A line of a text by a writer."""

    @property
    def text(self) -> str: ...

    @property
    def writer(self) -> str: ...


def file_at(path: str, embedded: Path) -> Path:
    """The file of a configured path; empty for the embedded one."""
    return Path(path).expanduser() if path else embedded


def opened(path: Path, kind: str, check: Callable[[Files], None]) -> dict[str, np.ndarray]:
    """All arrays of a file as it is now.

    kind: of lines, in errors. check: raises InvalidValue for rows that do not belong together.
    InvalidValue of "path" where there is no such file, or its arrays do not belong together.
    """
    return _arrays(path, path.stat().st_mtime_ns if path.is_file() else 0, kind, check)


@lru_cache(maxsize=4)
def _arrays(
    path: Path, changed: int, kind: str, check: Callable[[Files], None]
) -> dict[str, np.ndarray]:
    """As `opened`. changed: when the file was, so that another one in its place is read."""
    try:
        stated = stand_ins(path)
        size = sum(array.nbytes for array in stated.values())
        require(size <= MOST, "path", Words(f"{path} with {size} bytes"), f"at most {MOST}")
        arrays = read(path, stated)
        check(arrays)
        _check(arrays)
    except InvalidValue as error:
        raise InvalidValue("path", Words(f"{path}: {error}")) from None
    except UNREADABLE as error:
        expected = f"an .npz file of {kind}: {error}{did_you_mean_path(path)}"
        raise InvalidValue("path", str(path), expected) from None
    return arrays


def splits_of(arrays: Files) -> list[str]:
    """The names of the splits, that of training first."""
    names = (name.removesuffix("_lengths") for name in arrays if name.endswith("_lengths"))
    return sorted(names, key=lambda name: (name != TRAIN, name))


def split_of(path: Path, arrays: Files, split: str) -> tuple[str, bool]:
    """The split that is read as `split`, and whether it is all there is; see `Source.unsplit`.

    InvalidValue where the file lacks it.
    """
    splits = splits_of(arrays)
    if splits == [TRAIN]:
        return TRAIN, True
    require(split in splits, "split", split, f"one of {sorted(splits)}, which {path} has")
    return split, False


def alphabet_of(arrays: Files, split: str, replacement: str) -> Alphabet:
    """The characters of the texts to train on, or of the split where there are none."""
    texts = arrays.get(f"{TRAIN}_texts", arrays[f"{split}_texts"])
    return Alphabet.of(map(str, texts), replacement)


def longest(arrays: Files) -> tuple[int, int]:
    """Rows of the longest line of all splits, and characters of the longest text."""
    splits = splits_of(arrays)
    rows = max(int(arrays[f"{name}_lengths"].max()) for name in splits)
    return rows, max(int(np.strings.str_len(arrays[f"{name}_texts"]).max()) for name in splits)


def fitting(
    name: str, arrays: Files, sizes: tuple[int, int], field: str, rows: str
) -> tuple[Bool[np.ndarray, " n"], str]:
    """Which lines have at most `sizes` rows and characters, and a remark on the others.

    field, rows: the field that says how many rows, and what rows are called.
    InvalidValue of the field where none fits.
    """
    most, characters = sizes
    fits = (arrays["lengths"] <= most) & (np.strings.str_len(arrays["texts"]) <= characters)
    got = Words(f"{name}, of which no line has at most {most} {rows} and {characters} letters")
    require(fits.any(), field, got, f"a greater {field}")
    lost = np.count_nonzero(~fits)
    remark = f"{lost} of {len(fits)} lines are longer than {most} {rows} or {characters} characters"
    return fits, f"{remark}, and left out" if lost else ""


def packed(about: str, splits: Mapping[str, Sequence[Written]]) -> dict[str, Any]:
    """The arrays of a file but for rows and lengths; InvalidValue for a split without lines."""
    names = sorted({line.writer for lines in splits.values() for line in lines})
    number = {name: k for k, name in enumerate(names)}
    arrays: dict[str, Any] = {"writer_names": np.array(names), "about": np.array(about)}
    for split, lines in splits.items():
        require(lines, split, Words("no line"), "at least one")
        arrays[f"{split}_texts"] = np.array([line.text for line in lines])
        arrays[f"{split}_writers"] = np.array([number[line.writer] for line in lines], np.int32)
    return arrays


def expect(arrays: Files, name: str, kinds: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of this name; InvalidValue where it is missing, or of another kind or shape.

    kinds: of dtypes, as in "iu". shape: -1 for any length.
    """
    require(name in arrays, name, Words("nothing"), "an array of this name")
    found = arrays[name]
    alike = len(shape) == found.ndim and all(
        n in (m, -1) for n, m in zip(shape, found.shape, strict=True)
    )
    got = Words(f"{found.dtype} {found.shape}")
    require(alike and found.dtype.kind in kinds, name, got, f"{shape} of the kinds {kinds!r}")
    return found


def rows_of(arrays: Files, split: str) -> int:
    """How many rows the lines of a split have together; InvalidValue for an empty line."""
    lengths: Int[np.ndarray, " n"] = expect(arrays, f"{split}_lengths", "iu", (-1,))
    got = Words("no line" if not len(lengths) else f"a line of {lengths.min()} rows")
    require(len(lengths) and lengths.min() >= 1, f"{split}_lengths", got, "lines with rows")
    return int(lengths.sum(dtype=object))


def _check(arrays: Files) -> None:
    """InvalidValue where arrays are missing, or are not what this module says."""
    expect(arrays, "about", "U", ())
    writers = len(expect(arrays, "writer_names", "U", (-1,)))
    splits = splits_of(arrays)
    require(splits, "train_lengths", Words("nothing"), "an array of this name")
    for split in splits:
        rows_of(arrays, split)
        count = len(arrays[f"{split}_lengths"])
        expect(arrays, f"{split}_texts", "U", (count,))
        numbers = expect(arrays, f"{split}_writers", "iu", (count,))
        known = 0 <= numbers.min() <= numbers.max() < writers
        got = Words(f"{numbers.min()} to {numbers.max()}")
        require(known, f"{split}_writers", got, f"numbers of the {writers} writers")
