"""Lines and words of handwriting as grey images of height 64.

255 is white paper. An `.npz` file holds lines of different widths side by side, see
`data.line_file`; a row of a line is a column of its image, from left to right:

    train_pixels   uint8 (columns, 64), of all lines of the split
    train_lengths  int32 (lines,), how many columns each line has

`write` makes such a file; `tools.prepare_lines` makes one of the IAM Handwriting Database or of
your own images, and `tools.build_lines` one derived from fonts. One with "train" alone is all
there is of every split, of which `data.holdout` sets some aside. `data/lines.npz` has a few lines
of every hand derived from fonts, see data/README.md.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from data.line_file import Files, expect, file_at, opened, packed, rows_of, splits_of
from data.source import Records
from data.styled_lines import LineArrays, StyledLines
from options.choices import require, require_non_negative
from options.errors import Words
from storage.pictures import write_npz

HEIGHT = 64  # of every image
WHITE = 255
EMBEDDED = Path(__file__).parent / "lines.npz"


class TextLine(NamedTuple):
    """One line: its image, its text and the writer's name."""

    image: UInt8[np.ndarray, "64 width"]
    text: str
    writer: str


@dataclass(frozen=True)
class TextLines:
    """A file of images of lines; see `data.text_lines`.

    Attributes:
      path: of the file; empty for the embedded lines, which are derived from fonts.
      width: columns that every line is padded to, with white, without the longer ones; 0 for as
        many as the longest has in any split, rounded up to a multiple of 16.
      characters: the same for the texts, 0 for as many as the longest has.
      replacement: what characters become that no training text has; empty, they are an error.
      masked: False makes the padding a part of the images, which are then images as any other: of
        one size, for an autoencoder.
    """

    path: str = ""
    width: int = 0
    characters: int = 0
    replacement: str = ""
    masked: bool = True

    def __post_init__(self) -> None:
        require_non_negative(self, "width", "characters")

    @property
    def _file(self) -> Path:
        return file_at(self.path, EMBEDDED)

    def splits(self) -> list[str]:
        """Those that the file has, the training's first."""
        return splits_of(opened(self._file, KIND, _check))

    def read(self, split: str = "train") -> "TextLineSource":
        """The lines of a split; InvalidValue where the file is none, or lacks the split."""
        arrays = opened(self._file, KIND, _check)
        given = LineArrays.of(self._file, arrays, split, self.replacement)
        return TextLineSource(given, (self.width, self.characters), self.masked)


class TextLineSource(StyledLines):
    """Lines of one split, padded to uint8 (64, width, 1); see `StyledLines`.

    The mask (1, width, 1), if any, is of the columns that a line has, which are its length.
    """

    length_field, rows = "width", "columns"
    multiple = 16  # networks halve widths four times

    def __init__(self, given: LineArrays, sizes: tuple[int, int], masked: bool) -> None:
        super().__init__(given, sizes)
        self.shape, self.masked = (HEIGHT, self.padded_rows, 1), masked
        self._pixels = given.arrays["pixels"]

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """As `Source.take`, in one array; white in the padding."""
        assert self.shape is not None
        at, mask = self._places(indices, self.shape[1])
        columns = np.where(mask[..., None], self._pixels[at], np.uint8(WHITE))
        images = np.ascontiguousarray(columns.swapaxes(1, 2))[..., None]
        return self._records(indices, images, mask[:, None, :, None] if self.masked else None)

    def line(self, index: int) -> TextLine:
        """A line without its padding."""
        start = self._starts[index]
        image = self._pixels[start : start + self.lengths[index]].T
        return TextLine(image, self.texts[index], self.class_names[self.writers[index]])

    def checksum(self) -> str:
        """See `Source.checksum`; of the lines as the file has them."""
        crc = zlib.crc32(repr((self.shape, self.class_names)).encode())
        for array in (self._pixels, self._starts, self.lengths, self.tokens, self.writers):
            crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
        return f"{crc:08x}"


def write(path: str | Path, about: str, splits: Mapping[str, Iterable[TextLine]]) -> None:
    """Write lines to a file. InvalidValue for a split without lines, or an image that is none."""
    lines = {split: list(found) for split, found in splits.items()}
    arrays: dict[str, Any] = packed(about, lines)
    for split, found in lines.items():
        for line in found:
            fits = line.image.ndim == 2 and len(line.image) == HEIGHT and line.image.size
            got = Words(f"{line.image.dtype} {line.image.shape} of {line.text!r}")
            require(fits and line.image.dtype == np.uint8, split, got, f"uint8 ({HEIGHT}, width)")
        arrays[f"{split}_pixels"] = np.concatenate([line.image.T for line in found])
        arrays[f"{split}_lengths"] = np.array([line.image.shape[1] for line in found], np.int32)
    write_npz(path, **arrays)


KIND = "images of lines"


def _check(arrays: Files) -> None:
    """InvalidValue where the pixels are not what `data.text_lines` says."""
    for split in splits_of(arrays):
        pixels = expect(arrays, f"{split}_pixels", "u", (rows_of(arrays, split), HEIGHT))
        require(pixels.dtype == np.uint8, f"{split}_pixels", Words(str(pixels.dtype)), "uint8")
