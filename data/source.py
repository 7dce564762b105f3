"""What a data set is to the rest of the project: numbered 8-bit images with labels."""

from typing import Protocol, TypedDict, runtime_checkable

import numpy as np
from jaxtyping import Int, Int32, Integer, UInt8


class Record(TypedDict):
    """One example."""

    image: UInt8[np.ndarray, "height width channels"]
    label: int


class Records(TypedDict):
    """Several examples; the images are one array where all are known to be of one size."""

    image: UInt8[np.ndarray, "b height width channels"] | list[np.ndarray]
    label: Int32[np.ndarray, "b"]


@runtime_checkable
class Source(Protocol):
    """A finite, random-access set of images. Derive from it to inherit `take` and `num_classes`.

    name: what reports and error messages call the set.
    image_shape: (height, width, channels), or None where the images differ in size.
    class_names: one name a class; empty for a set without classes, where every label is 0.

    `source[i]` is called from several threads at once.
    """

    name: str
    image_shape: tuple[int, int, int] | None
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Labels lie in [0, num_classes)."""
        return len(self.class_names)

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """The examples at `indices`, in that order."""
        records = [self[int(i)] for i in indices]
        labels = np.array([record["label"] for record in records], np.int32)
        return Records(image=[record["image"] for record in records], label=labels)


class ArraySource(Source):
    """Images held in memory, with their labels."""

    def __init__(
        self,
        name: str,
        images: UInt8[np.ndarray, "n height width channels"],
        labels: Integer[np.ndarray, "n_labels"],
        class_names: tuple[str, ...] = (),
    ) -> None:
        if len(images) != len(labels) or len(images) == 0:
            raise ValueError(
                f"{name}: got {len(images)} images and {len(labels)} labels, "
                "expected as many of each, and at least one"
            )
        limit = max(len(class_names), 1)
        if labels.min() < 0 or labels.max() >= limit:
            raise ValueError(
                f"{name}: got labels from {labels.min()} to {labels.max()}, expected [0, {limit})"
            )
        _, height, width, channels = images.shape
        self.name = name
        self.images = images
        self.labels = labels.astype(np.int32)
        self.class_names = class_names
        self.image_shape = height, width, channels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Record:
        return Record(image=self.images[index], label=int(self.labels[index]))

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        """As `Source.take`, without a loop over the examples."""
        return Records(image=self.images[indices], label=self.labels[indices])


class Subset(Source):
    """Some examples of a source, by their indices."""

    def __init__(self, source: Source, indices: Int[np.ndarray, "n"]) -> None:
        if len(indices) == 0 or indices.min() < 0 or indices.max() >= len(source):
            raise ValueError(
                f"indices: expected at least one, all in [0, {len(source)}) of {source.name}"
            )
        self.source = source
        self.indices = indices
        self.name = f"{source.name}, {len(indices)} of {len(source)}"
        self.image_shape = source.image_shape
        self.class_names = source.class_names

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Record:
        return self.source[int(self.indices[index])]

    def take(self, indices: Int[np.ndarray, "b"]) -> Records:
        return self.source.take(self.indices[indices])
