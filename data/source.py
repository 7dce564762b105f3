"""What a data set is to the rest of the project: numbered 8-bit images with labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
from jaxtyping import Int, UInt8


class Record(TypedDict):
    """One example."""

    image: UInt8[np.ndarray, "height width channels"]
    label: int


class Records(TypedDict):
    """Several examples; the images are one array where all are known to be of one size."""

    image: UInt8[np.ndarray, "b height width channels"] | list[np.ndarray]
    label: Int[np.ndarray, "b"]


class Source(Protocol):
    """A finite, random-access set of images. Derive from it to inherit `take`.

    name: what reports and error messages call the set.
    image_shape: (height, width, channels), or None where the images differ in size.
    num_classes: labels lie in [0, num_classes); 0 for a set without classes (every label is 0).
    class_names: one name a class.

    `source[i]` is called from several threads at once.
    """

    name: str
    image_shape: tuple[int, int, int] | None
    num_classes: int
    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...

    def take(self, indices: Sequence[int] | Int[np.ndarray, "b"]) -> Records:
        """The examples at `indices`, in that order."""
        records = [self[int(i)] for i in indices]
        labels = np.array([record["label"] for record in records], np.int32)
        return Records(image=[record["image"] for record in records], label=labels)


@dataclass(frozen=True, eq=False)
class ArraySource(Source):
    """Images held in memory: (n, height, width, channels) uint8, and (n,) integer labels."""

    name: str
    images: UInt8[np.ndarray, "n height width channels"]
    labels: Int[np.ndarray, "n"] | UInt8[np.ndarray, "n"]
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels) or len(self.images) == 0:
            raise ValueError(
                f"{self.name}: got {len(self.images)} images and {len(self.labels)} labels, "
                "expected as many of each, and at least one"
            )
        if self.labels.min() < 0 or self.labels.max() >= max(self.num_classes, 1):
            raise ValueError(
                f"{self.name}: got labels in [{self.labels.min()}, {self.labels.max()}], "
                f"expected them in [0, {max(self.num_classes, 1)})"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self.images.shape
        return height, width, channels

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Record:
        return Record(image=self.images[index], label=int(self.labels[index]))

    def take(self, indices: Sequence[int] | Int[np.ndarray, "b"]) -> Records:
        """As `Source.take`, without a loop over the examples."""
        indices = np.asarray(indices)
        return Records(image=self.images[indices], label=self.labels[indices].astype(np.int32))
