"""Images in one `.npz` file, as a data set.

A split is two arrays of the file, and `class_names` is a third that all splits share:

    train_images  uint8 (n, height, width[, channels])
    train_labels  integers (n,); left out where there are no classes
    class_names   text (classes,); left out, classes are called by their numbers

    np.savez_compressed("mine.npz", train_images=images, train_labels=labels, class_names=names)
"""

import zipfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from data.source import ArraySource

UNREADABLE = (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@cache
def array_file(path: str | Path, split: str = "train") -> ArraySource:
    """The images of one split of a file. Raises ValueError where the file has no such arrays."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"path: got {str(path)!r}, expected an .npz file")
    try:
        with np.load(path) as file:
            wanted = [f"{split}_images", "class_names"]
            wanted += [name for name in file.files if name.endswith("_labels")]
            arrays = {name: file[name] for name in wanted if name in file.files}
            splits = sorted(
                name.removesuffix("_images") for name in file.files if name.endswith("_images")
            )
    except UNREADABLE as error:
        raise ValueError(
            f"path: got {str(path)!r}, expected an .npz file of plain arrays: {error}"
        ) from None
    if split not in splits:
        raise ValueError(f"split: got {split!r}, expected one of {splits}, which {path} has")
    images, labels = arrays[f"{split}_images"], arrays.get(f"{split}_labels")
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            f"path: {split}_images of {path} is {images.dtype} {images.shape}, expected uint8 "
            "(n, height, width[, channels])"
        )
    if images.ndim == 3:
        images = images[..., None]
    names = _class_names(arrays)
    if labels is None:
        if names:
            raise ValueError(f"path: {path} has class names but no {split}_labels")
        labels = np.zeros(len(images), np.int32)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(
            f"path: {split}_labels of {path} is {labels.dtype} {labels.shape}, expected "
            "integers (n,)"
        )
    try:
        return ArraySource(f"{path.stem}/{split}", images, labels, names)
    except ValueError as error:
        raise ValueError(f"path: {path}: {error}") from None


def _class_names(arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    """The file's own, or the numbers up to the largest label of all splits."""
    if "class_names" in arrays:
        return tuple(str(name) for name in arrays["class_names"])
    labels = [array for name, array in arrays.items() if name.endswith("_labels") and array.size]
    return tuple(map(str, range(int(max((array.max() for array in labels), default=-1)) + 1)))
