"""Lines of handwriting of one split of a file, whatever they are made of."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, Shaped

from data.alphabet import Alphabet
from data.line_file import Files, alphabet_of, fitting, longest, split_of
from data.source import Record, Records, Source


class LineArrays(NamedTuple):
    """What a file has of one split.

    arrays: of the split, by their names without its own.
    longest: rows and characters of the longest lines and texts of all splits.
    unsplit: see `Source.unsplit`.
    """

    name: str
    arrays: Files
    writer_names: tuple[str, ...]
    alphabet: Alphabet
    longest: tuple[int, int]
    unsplit: bool

    @classmethod
    def of(cls, path: Path, arrays: Files, split: str, replacement: str) -> "LineArrays":
        """Those of the arrays of a file; InvalidValue where it lacks the split."""
        split, unsplit = split_of(path, arrays, split)
        own = {
            name.removeprefix(f"{split}_"): array
            for name, array in arrays.items()
            if name.startswith(f"{split}_")
        }
        alphabet = alphabet_of(arrays, split, replacement)
        writer_names = tuple(map(str, arrays["writer_names"]))
        name = f"{arrays['about']}, {split}"
        return cls(name, own, writer_names, alphabet, longest(arrays), unsplit)


class StyledLines(Source):
    """Padded lines with their texts; the classes are the writers.

    Records have "image" and, where padding is masked, "mask", by the kind of line, "label" and
    "writer", int32, "text", the tokens int32 (characters,), padded by 0, and, where `with_style`
    gave one, "style", float32 (places, channels), what the features of another line of the
    writer's show.

    Attributes:
      alphabet: of the tokens.
      texts, writers: of every line; writers are numbers of `class_names`.
      tokens: the texts as the records have them.
      lengths: rows of every line, without padding.
      length_field, rows: the setting that says how many are the most, and what they are called.
      padded_rows: of every record's image and mask.
      multiple: by which `padded_rows` divides where that setting leaves it open.
    """

    masked = True
    length_field: ClassVar[str]
    rows: ClassVar[str]
    multiple: ClassVar[int]
    _style: tuple[np.ndarray, np.ndarray] | None = None

    def __init__(self, given: LineArrays, sizes: tuple[int, int]) -> None:
        """Lines padded to so many rows and characters, 0 for as many as the longest have."""
        arrays, alphabet, (rows, characters) = given.arrays, given.alphabet, given.longest
        self.padded_rows = sizes[0] or -(-rows // self.multiple) * self.multiple
        self.name, self.class_names, self.unsplit = given.name, given.writer_names, given.unsplit
        self.alphabet, limits = alphabet, (self.padded_rows, sizes[1] or characters)
        fits, self.remark = fitting(given.name, arrays, limits, self.length_field, self.rows)
        starts = np.cumsum(arrays["lengths"], dtype=np.int64) - arrays["lengths"]
        self._starts = starts[fits]
        self.lengths: Int32[np.ndarray, " n"] = arrays["lengths"][fits]
        self.texts: Sequence[str] = [str(text) for text in arrays["texts"][fits]]
        self.writers: Int32[np.ndarray, " n"] = arrays["writers"][fits].astype(np.int32)
        self.tokens: Int32[np.ndarray, "n characters"] = np.stack(
            [alphabet.encode(text, limits[1]) for text in self.texts]
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Record:
        found = self.take(np.array([index]))
        record = Record(
            image=found["image"][0],
            label=int(found["label"][0]),
            text=found["text"][0],
            writer=int(found["writer"][0]),
        )
        if "mask" in found:
            record["mask"] = found["mask"][0]
        if "style" in found:
            record["style"] = found["style"][0]
        return record

    def each_label(self) -> Int32[np.ndarray, "n"]:
        return self.writers

    def _places(self, indices: Int[np.ndarray, "b"], rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the rows of lines stand in the file, (b, rows), and which are not padding."""
        steps = np.arange(rows)
        mask = steps < self.lengths[indices, None]
        return np.where(mask, self._starts[indices, None] + steps, 0), mask

    def _records(
        self, indices: Int[np.ndarray, "b"], images: np.ndarray, mask: np.ndarray | None
    ) -> Records:
        """What all kinds of lines have, beside their images and where these are real."""
        writers = self.writers[indices]
        found = Records(image=images, label=writers, text=self.tokens[indices], writer=writers)
        if mask is not None:
            found["mask"] = mask
        if self.is_styled:
            found["style"] = self.styles(indices)
        return found

    @property
    def is_styled(self) -> bool:
        """Whether its lines have styles."""
        return self._style is not None

    def with_style(
        self, features: Shaped[np.ndarray, "n places c"], of: Int[np.ndarray, " n"]
    ) -> "StyledLines":
        """The same lines, line i in the style of line of[i], by the features of all lines."""
        found = copy.copy(self)
        found._style = features, of
        return found

    def styles(self, indices: Int[np.ndarray, "b"]) -> Float32[np.ndarray, "b places c"]:
        """Those of some lines."""
        assert self._style is not None
        features, of = self._style
        return features[of[indices]].astype(np.float32)
