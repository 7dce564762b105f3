"""What a data set is to the rest of the project: numbered examples with labels.

An example is an array with channels last: an image (height, width, channels), a sequence (length,
channels), a volume; 8-bit grey levels or real numbers. Where examples are padded to one shape, a
mask says what of them is real.
"""

import functools
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NotRequired, Protocol, TypedDict, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int, Int32, Integer, Shaped, UInt8

from options.choices import require
from options.errors import InvalidValue, Words

Example = UInt8[np.ndarray, "..."] | Float32[np.ndarray, "..."]
Examples = UInt8[np.ndarray, "b ..."] | Float32[np.ndarray, "b ..."]
TYPES = (np.uint8, np.float32)
BLOCK = 256  # examples that a checksum reads at a time


class CaptionValue(TypedDict):
    """Vectors of a text encoder, and where there is one; several captions have a leading axis."""

    vectors: Float16[np.ndarray, "... n features"]
    mask: Bool[np.ndarray, "... n"]


class Record(TypedDict):
    """One example, whatever it is, under "image". mask: see `Source`; text, writer, style: of a
    line of handwriting, see `data.strokes` and `data.text_lines`; text: of `data.captions` too;
    caption: see `data.caption_vectors`."""

    image: Example
    label: int
    mask: NotRequired[Bool[np.ndarray, "..."]]
    text: NotRequired[Int32[np.ndarray, " characters"]]
    writer: NotRequired[int]
    style: NotRequired[Float32[np.ndarray, "places features"]]
    caption: NotRequired[CaptionValue]


class Records(TypedDict):
    """Several examples, as one array where all are known to be of one shape."""

    image: Examples | list[np.ndarray]
    label: Int32[np.ndarray, "b"]
    mask: NotRequired[Bool[np.ndarray, "b ..."]]
    text: NotRequired[Int32[np.ndarray, "b characters"]]
    writer: NotRequired[Int32[np.ndarray, "b"]]
    style: NotRequired[Float32[np.ndarray, "b places features"]]
    caption: NotRequired[CaptionValue]


@runtime_checkable
class Source(Protocol):
    """A finite, random-access set of examples. Derive from it to inherit what has a body here.

    `source[i]` is called from several threads at once.

    Attributes:
      name: what reports and error messages call the set.
      shape: of an example, channels last; None where images differ in size.
      class_names: one name a class; empty for a set without classes, where every label is 0.
      dtype: of the examples, uint8 or float32.
      masked: whether records have a "mask", True where the example is real: of the example's rank,
        with axes of 1 where it does not depend on them, such as (length, 1).
      unsplit: whether it is all there is of every split, so that nobody set examples aside.
      is_of_files: whether each example is an image file, which takes long to decode.
      remark: what was seen when it was read and may explain that it is not what was expected.
      texts: the caption of each example; empty for a set without.
    """

    name: str
    shape: tuple[int, ...] | None
    class_names: tuple[str, ...]
    dtype: np.dtype = np.dtype(np.uint8)
    masked: bool = False
    unsplit: bool = False
    is_of_files: bool = False
    remark: str = ""
    texts: Sequence[str] = ()

    @property
    def num_classes(self) -> int:
        """Labels lie in [0, num_classes)."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Of every example; a source whose `shape` is None has its own."""
        if self.shape is None:
            raise AttributeError(f"{type(self).__name__}.channels")
        return self.shape[-1]

    @property
    def usual_size(self) -> tuple[int, int] | None:
        """(height, width) of most images; None where that is not known, or they are none."""
        known = self.shape is not None and self.is_images
        return (self.shape[0], self.shape[1]) if self.shape and known else None

    @property
    def is_images(self) -> bool:
        """Whether examples are images (height, width, channels) without padding."""
        return not self.masked and (self.shape is None or len(self.shape) == 3)

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...

    def key(self, index: int) -> str:
        """What an example is known by, also when there are more of them: its number, or its file's
        name."""
        return str(index)

    def with_images(self, change: Callable[["Source"], "Source"]) -> "Source":
        """The set with other images, such as smaller ones, and what else its records have."""
        return change(self)

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """The examples at `indices`, in that order."""
        records = [self[int(i)] for i in indices]
        labels = np.array([record["label"] for record in records], np.int32)
        found = Records(image=[record["image"] for record in records], label=labels)
        if self.masked:
            found["mask"] = np.stack([record["mask"] for record in records])
        return found

    def each_label(self) -> Int32[np.ndarray, "n"]:
        """The labels of all examples. Reads them, where labels are not at hand."""
        return np.concatenate([found["label"] for found in self._blocks()])

    def class_counts(self) -> Int[np.ndarray, "m"]:
        """How many examples each class has."""
        return np.bincount(self.each_label(), minlength=self.num_classes)

    def _blocks(self) -> Iterator[Records]:
        for start in range(0, len(self), BLOCK):
            yield self.take(np.arange(start, min(start + BLOCK, len(self))))

    def checksum(self) -> str:
        """A text that differs where any example does, or what comes with it. Reads all of them."""
        crc = zlib.crc32(repr((self.shape, self.class_names, len(self))).encode())
        for found in self._blocks():
            beside = [array for name, array in sorted(found.items()) if name != "image"]
            for array in (*found["image"], *beside):
                crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
        return f"{crc:08x}"


class ArraySource(Source):
    """Examples held in one array, with their labels.

    mask: see `Source`, with a leading axis over examples; None where nothing is padded.
    """

    def __init__(
        self,
        name: str,
        images: Shaped[np.ndarray, "n *shape"],
        labels: Integer[np.ndarray, "n_labels"],
        class_names: tuple[str, ...] = (),
        mask: Bool[np.ndarray, "n ..."] | None = None,
    ) -> None:
        counts = Words(f"{len(images)} examples and {len(labels)} labels")
        same = len(images) == len(labels) > 0
        require(same, name, counts, "as many of each, and at least one")
        require(images.dtype in TYPES, name, Words(str(images.dtype)), "uint8 or float32")
        require(images.ndim > 1, name, Words("single numbers"), "examples with channels")
        limit = max(len(class_names), 1)
        if labels.min() < 0 or labels.max() >= limit:
            got = Words(f"labels from {labels.min()} to {labels.max()}")
            raise InvalidValue(name, got, f"[0, {limit})")
        self.name = name
        self.images = images
        self.labels = labels.astype(np.int32)
        self.class_names = class_names
        self.shape = images.shape[1:]
        self.dtype = images.dtype
        self.mask = mask
        self.masked = mask is not None
        if mask is not None:
            check_mask(name, mask, images.shape)

    def each_label(self) -> Int32[np.ndarray, "n"]:
        return self.labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Record:
        found = Record(image=self.images[index], label=int(self.labels[index]))
        if self.mask is not None:
            found["mask"] = self.mask[index]
        return found

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """As `Source.take`, without a loop over the examples."""
        found = Records(image=self.images[indices], label=self.labels[indices])
        if self.mask is not None:
            found["mask"] = self.mask[indices]
        return found


def check_mask(name: str, mask: np.ndarray, shape: tuple[int, ...]) -> None:
    """InvalidValue where `mask` does not belong to examples of `shape`, (n, ..., channels)."""
    fits = mask.ndim == len(shape) and all(
        m in (1, n) for m, n in zip(mask.shape[1:], shape[1:], strict=True)
    )
    got = Words(f"a mask {mask.shape}")
    require(fits and len(mask) == shape[0], name, got, f"{shape}, or 1 in place of some lengths")
    empty = np.flatnonzero(~mask.any(axis=tuple(range(1, mask.ndim))))
    if len(empty):
        got = Words(f"example {empty[0]}, of which nothing is real")
        raise InvalidValue(name, got, "a mask with at least one 1 in each example")


class Subset(Source):
    """Some examples of a source, by their indices.

    name: by default the source's, with how many they are.
    """

    def __init__(self, source: Source, indices: Int[np.ndarray, "n"], name: str = "") -> None:
        if len(indices) == 0 or indices.min() < 0 or indices.max() >= len(source):
            some = f"from {indices.min()} to {indices.max()}" if len(indices) else "none"
            expected = f"at least one, all in [0, {len(source)}) of {source.name}"
            raise InvalidValue("indices", Words(some), expected)
        self.source = source
        self.indices = indices
        self.name = name or f"{source.name}, {len(indices)} of {len(source)}"
        self.shape = source.shape
        self.class_names = source.class_names
        self.remark = source.remark
        self.dtype = source.dtype
        self.masked = source.masked

    @property
    def channels(self) -> int:
        return self.source.channels

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Record:
        return self.source[int(self.indices[index])]

    @functools.cached_property
    def texts(self) -> Sequence[str]:  # type: ignore[override]
        return [self.source.texts[i] for i in self.indices] if self.source.texts else ()

    def key(self, index: int) -> str:
        return self.source.key(int(self.indices[index]))

    def each_label(self) -> Int32[np.ndarray, "n"]:
        return self.source.each_label()[self.indices]

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        return self.source.take(self.indices[indices])


def hold_out(source: Source, share: float) -> tuple[Source, Source]:
    """The source less about `share` of its examples, and these.

    A key, hashed, decides about its example alone: examples that are added later leave those that
    are there where they are. At least one is held out, and one is not.
    """
    names = [source.key(i).encode() for i in range(len(source))]
    require(len(names) > 1, "holdout", share, "0 for a single example")
    rank = np.array([int.from_bytes(hashlib.sha256(name).digest()[:4]) for name in names])
    held_out = rank < share * 2**32
    held_out[rank.argmin()], held_out[rank.argmax()] = True, False
    rest = Subset(source, np.flatnonzero(~held_out), f"{source.name}, not held out")
    return rest, Subset(source, np.flatnonzero(held_out), f"{source.name}, held out")


@runtime_checkable
class DataSet(Protocol):
    """Where data are: frozen options, from which every split is read by the same code."""

    def read(self, split: str = "train") -> Source:
        """The examples of a split; InvalidValue where there are none."""
        ...
