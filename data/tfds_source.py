"""Data sets that TFDS has prepared as array_record, read without TensorFlow.

A prepared data set is a folder with `dataset_info.json`, such as ~/data/cifar10/1.0.0 (made by
tools/prepare_cifar10.py). Nothing is ever downloaded or prepared here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.source import Record, Source
from options.choices import did_you_mean_path, require
from options.errors import InvalidValue, StorageError, Words
from options.project import extra

INFO = "dataset_info.json"


@dataclass(frozen=True)
class Tfds:
    """A data set prepared by TFDS; see `tfds`.

    Attributes:
      path: of the folder with `dataset_info.json`, or of one above it.
      image_key: name of an 8-bit Image feature.
      label_key: name of a ClassLabel feature; without one there are no classes.
    """

    path: str = ""
    image_key: str = "image"
    label_key: str = "label"

    def __post_init__(self) -> None:
        require(self.path, "path", self.path, "a folder of a data set prepared by TFDS")

    def read(self, split: str = "train") -> "TfdsSource":
        """The examples of a split."""
        return tfds(self.path, split, image_key=self.image_key, label_key=self.label_key)


@dataclass(frozen=True, eq=False)
class TfdsSource(Source):
    """The image and label features of one split; see `tfds`. Other features are left out."""

    name: str
    examples: Any  # TFDS's data source: len() and [index] -> features by name
    shape: tuple[int, ...] | None
    num_channels: int
    class_names: tuple[str, ...]
    image_key: str
    label_key: str

    @property
    def channels(self) -> int:
        return self.num_channels

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Record:
        try:
            example = self.examples[index]
        except Exception as error:  # array_record and the image decoders share no base class
            got = Words(f"example {index}, which cannot be read: {error}")
            raise StorageError(self.name, got) from error
        label = int(example[self.label_key]) if self.class_names else 0
        return Record(image=np.asarray(example[self.image_key], np.uint8), label=label)


def tfds(
    path: str | Path, split: str = "train", *, image_key: str = "image", label_key: str = "label"
) -> TfdsSource:
    """One split of the prepared data set in `path`, or in the only such folder below it.

    Its `image_key` must be an 8-bit Image feature. Its `label_key` may be a ClassLabel; without
    one every label is 0. A missing, empty or damaged data set is an error that names `path`.
    """
    # Imported here, since the other sources need not wait for it.
    with extra("tfds"):
        from tensorflow_datasets import builder_from_directory, features

    folder = _prepared_folder(Path(path).expanduser())
    try:
        builder = builder_from_directory(folder)
    except Exception as error:  # JSON, protobuf and TFDS's own errors share no base class
        raise InvalidValue(
            "path", Words(f"{folder / INFO}, which cannot be read: {error}")
        ) from error
    info = builder.info
    form = info.file_format.value
    require(form == "array_record", "path", Words(f"{folder} in {form}"), "array_record")
    require(split in info.splits, "split", split, f"one of {', '.join(info.splits)}")
    named = dict(info.features.items())
    image, label = named.get(image_key), named.get(label_key)
    if not isinstance(image, features.Image) or image.np_dtype != np.uint8:
        expected = f"an 8-bit image among the features of {folder}: {', '.join(named)}"
        raise InvalidValue("image_key", image_key, expected)
    source = TfdsSource(
        name=f"{info.name}/{split}",
        examples=builder.as_data_source(split),
        shape=None if None in image.shape else image.shape,
        num_channels=image.shape[-1],
        class_names=tuple(label.names) if isinstance(label, features.ClassLabel) else (),
        image_key=image_key,
        label_key=label_key,
    )
    _read_each_file(source, info.splits[split].shard_lengths)
    return source


def _prepared_folder(path: Path) -> Path:
    """`path` if it holds a prepared data set, else the only folder below it that does."""
    require(path.is_dir(), "path", str(path), f"a folder{did_you_mean_path(path)}")
    found = [path] if (path / INFO).is_file() else sorted(p.parent for p in path.rglob(INFO))
    require(found, "path", str(path), f"a data set prepared by TFDS ({INFO}) in or below it")
    folders = ", ".join(str(folder) for folder in found)
    several = Words(f"{path}, which holds several data sets")
    require(len(found) == 1, "path", several, f"one of {folders}")
    return found[0]


def _read_each_file(source: TfdsSource, lengths: Sequence[int]) -> None:
    """Read one example of every file, so that a missing or cut one is found before a run."""
    require(len(source), "path", Words(f"{source.name} without examples"), "at least one")
    starts = np.cumsum([0, *lengths])[:-1]
    for start, length in zip(starts, lengths, strict=True):
        if length:
            try:
                source[int(start)]
            except OSError as error:
                raise InvalidValue("path", Words(str(error))) from error
