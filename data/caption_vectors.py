"""Captions as vectors of a frozen text encoder, computed once and looked up by the loader."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Int, Int32

from data.source import CaptionValue, Record, Records, Source

# Texts to their vectors (n, tokens, features) and a mask (n, tokens).
Encode = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]


class CaptionVectors(Source):
    """The examples of a source, whose records also have "caption", see `data.source.CaptionValue`.

    Captions that are alike have their vectors once, float16.
    """

    vectors: Float16[np.ndarray, "m tokens features"]
    mask: Bool[np.ndarray, "m tokens"]

    def __init__(self, source: Source, encode: Encode) -> None:
        """encode: is called once."""
        self.source, self.texts = source, source.texts
        self.name, self.class_names = source.name, source.class_names
        self.shape, self.dtype, self.masked = source.shape, source.dtype, source.masked
        self.unsplit, self.is_of_files = source.unsplit, source.is_of_files
        self.remark = source.remark
        each, self._which = np.unique(np.array(source.texts), return_inverse=True)
        vectors, self.mask = encode(each.tolist())
        self.vectors = vectors.astype(np.float16)

    def _captions(self, indices: Any) -> CaptionValue:
        which = self._which[indices]
        return CaptionValue(vectors=self.vectors[which], mask=self.mask[which])

    @property
    def channels(self) -> int:
        return self.source.channels

    @property
    def usual_size(self) -> tuple[int, int] | None:
        return self.source.usual_size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Record:
        record = self.source[index]
        record["caption"] = self._captions(index)
        return record

    def key(self, index: int) -> str:
        return self.source.key(index)

    def each_label(self) -> Int32[np.ndarray, "n"]:
        return self.source.each_label()

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """As `Source.take`, with the captions."""
        found = self.source.take(indices)
        found["caption"] = self._captions(indices)
        return found

    def checksum(self) -> str:
        """That of the source, captions among it."""
        return self.source.checksum()
