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

INFO = "dataset_info.json"


@dataclass(frozen=True, eq=False)
class TfdsSource(Source):
    """The image and label features of one split; see `tfds`. Other features are left out."""

    name: str
    examples: Any  # TFDS's data source: len() and [index] -> features by name
    image_shape: tuple[int, int, int] | None
    class_names: tuple[str, ...]
    image_key: str
    label_key: str

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Record:
        try:
            example = self.examples[index]
        except Exception as error:  # array_record and the image decoders share no base class
            raise OSError(f"{self.name}: example {index} cannot be read: {error}") from error
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
    from tensorflow_datasets import builder_from_directory, features

    folder = _prepared_folder(Path(path).expanduser())
    try:
        builder = builder_from_directory(folder)
    except Exception as error:  # JSON, protobuf and TFDS's own errors share no base class
        raise ValueError(f"path: {folder / INFO} cannot be read: {error}") from error
    info = builder.info
    if info.file_format.value != "array_record":
        raise ValueError(f"path: {folder} is in {info.file_format.value}, expected array_record")
    if split not in info.splits:
        raise ValueError(f"split: got {split!r}, expected one of {', '.join(info.splits)}")
    named = dict(info.features.items())
    image, label = named.get(image_key), named.get(label_key)
    if not isinstance(image, features.Image) or image.np_dtype != np.uint8:
        raise ValueError(
            f"image_key: got {image_key!r}, expected an 8-bit image among the features of "
            f"{folder}: {', '.join(named)}"
        )
    source = TfdsSource(
        name=f"{info.name}/{split}",
        examples=builder.as_data_source(split),
        image_shape=None if None in image.shape else image.shape,
        class_names=tuple(label.names) if isinstance(label, features.ClassLabel) else (),
        image_key=image_key,
        label_key=label_key,
    )
    _read_each_file(source, info.splits[split].shard_lengths)
    return source


def _prepared_folder(path: Path) -> Path:
    """`path` if it holds a prepared data set, else the only folder below it that does."""
    if not path.is_dir():
        raise FileNotFoundError(f"path: no folder {path}")
    found = [path] if (path / INFO).is_file() else sorted(p.parent for p in path.rglob(INFO))
    if not found:
        raise FileNotFoundError(f"path: no data set prepared by TFDS ({INFO}) in or below {path}")
    if len(found) > 1:
        folders = ", ".join(str(folder) for folder in found)
        raise ValueError(f"path: {path} holds several data sets, expected one of {folders}")
    return found[0]


def _read_each_file(source: TfdsSource, lengths: Sequence[int]) -> None:
    """Read one example of every file, so that a missing or cut one is found before a run."""
    if len(source) == 0:
        raise ValueError(f"path: {source.name} has no examples")
    starts = np.cumsum([0, *lengths])[:-1]
    for start, length in zip(starts, lengths, strict=True):
        if length:
            try:
                source[int(start)]
            except OSError as error:
                raise ValueError(f"path: {error}") from error
