"""Arrays in files, as a data set: images, latents, fields, sequences.

An `.npz` file, or a folder of `.npy` files (`train_data.npy`, ...), holds for each split, here
"train",

    train_images   (n, height, width[, channels]); uint8 grey levels, or other numbers
    train_data     in place of images, of any shape: (n, ..., channels)
    train_labels   integers (n,); left out where there are no classes
    train_lengths  of data (n, length, channels): how many steps of each sequence are real, (n,)
    train_mask     in place of lengths: (n, length), or of the data's rank with axes of 1; 1 is real
    class_names    text (classes,), for all splits; left out, classes are called by their numbers

    np.savez_compressed("mine.npz", train_images=images, train_labels=labels, class_names=names)

In a folder `train.npy` may stand for the images (if uint8) or the data; a path to one `.npy` file
is that array, of which `data.holdout` sets some aside. uint8 stays as it is; all other numbers
become float32, whole ones exactly or not at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from data.source import ArraySource, check_mask
from options.choices import did_you_mean_path, require
from options.errors import InvalidValue, Words
from storage.npz import UNREADABLE

EXACT = 2**24  # whole numbers up to here are float32 numbers
MOST_CLASSES = 2**16  # that are not named
FAR = 32  # labels may lack so many classes, or as many as there are, before the last
FEW = (1, 2, 3, 4)  # channels of images, where they stand first by mistake

# Names of arrays, and how each is read.
Contents = dict[str, Callable[[], np.ndarray]]


@dataclass(frozen=True)
class Arrays:
    """Arrays in files; see `data.arrays`.

    Attributes:
      path: of an `.npz` or `.npy` file, or of a folder of `.npy` files.
    """

    path: str = ""

    def __post_init__(self) -> None:
        require(self.path, "path", self.path, "an .npz or .npy file, or a folder of .npy files")

    def read(self, split: str = "train") -> ArraySource:
        """See `arrays`."""
        return arrays(self.path, split)


@cache
def arrays(path: str | Path, split: str = "train") -> ArraySource:
    """The examples of one split; InvalidValue where the arrays are none."""
    path = Path(path).expanduser()
    contents = _contents(path, split)
    name = _examples_name(path, split, contents)
    examples = _examples(path, name, contents[name]())
    mask = _mask(path, split, contents, examples.shape)
    if examples.dtype != np.uint8:
        real = examples if mask is None else np.where(mask, examples, 0)
        if wrong := np.size(real) - np.count_nonzero(np.isfinite(real)):
            raise _wrong(path, name, f"{wrong} values that are not finite", "finite numbers")
        examples = real
    labels, names = _labels(path, split, contents)
    if labels is None:
        require(not names, "path", Words(f"classes in {path}"), f"an array {split}_labels too")
        labels = np.zeros(len(examples), np.int32)
    try:
        found = ArraySource(f"{path.stem}/{split}", examples, labels, names, mask)
    except InvalidValue as error:
        raise InvalidValue("path", Words(f"{path}: {error}")) from None
    if path.suffix == ".npy":
        found.name, found.unsplit = path.stem, True
    return found


def _contents(path: Path, split: str) -> Contents:
    def read(file: Path, name: str) -> np.ndarray:
        try:
            if file.suffix == ".npy":
                return np.load(file, mmap_mode="r")
            with np.load(file) as archive:
                return archive[name] if name else np.array(archive.files)
        except UNREADABLE as error:
            # numpy takes what is no file of its own for a pickle, and says how to load that.
            why = "" if "allow_pickle" in str(error) else f": {error}"
            got = Words(f"{name} of {file}") if name else str(file)
            expected = f"an {file.suffix} file of plain arrays{why}"
            raise InvalidValue("path", got, expected) from None

    def reader(file: Path, name: str) -> Callable[[], np.ndarray]:
        return lambda: read(file, name)

    if path.is_dir():
        return {file.stem: reader(file, "") for file in sorted(path.glob("*.npy"))}
    expected = f"an .npz or .npy file, or a folder of .npy files{did_you_mean_path(path)}"
    require(path.is_file() and path.suffix in (".npz", ".npy"), "path", str(path), expected)
    if path.suffix == ".npy":
        return {split: reader(path, "")}
    return {str(name): reader(path, str(name)) for name in read(path, "")}


def _examples_name(path: Path, split: str, contents: Contents) -> str:
    """The array that holds the examples of the split."""
    wanted = [f"{split}_images", f"{split}_data", split]
    found = [name for name in wanted if name in contents]
    if len(found) > 1:
        raise InvalidValue("path", Words(f"{path} with {found}"), "one of them")
    if found:
        return found[0]
    splits = sorted({n.rpartition("_")[0] for n in contents if n.endswith(("_images", "_data"))})
    if splits:
        raise InvalidValue("split", split, f"one of {splits}, which {path} has")
    got = Words(f"{path} with the arrays {sorted(contents)}")
    raise InvalidValue("path", got, f"an array {split}_images or {split}_data")


def _examples(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """uint8 or float32 (n, ..., channels)."""
    got, kind = f"{array.dtype} {array.shape}", array.dtype.kind
    if kind not in "uif":
        raise _wrong(path, name, got, "numbers")
    images = name.endswith("_images") or (array.dtype == np.uint8 and not name.endswith("_data"))
    if images and array.ndim not in (3, 4):
        raise _wrong(path, name, got, "(n, height, width[, channels])")
    if images and array.ndim == 3:
        array = array[..., None]
    elif images and _has_channels_first(*array.shape[1:]):
        raise _wrong(path, name, got, "channels last, (n, height, width, channels)")
    if array.dtype == np.uint8:
        return array
    if kind in "ui" and array.size and max(-int(array.min()), int(array.max())) > EXACT:
        raise _wrong(path, name, f"{got} with numbers above 2^24", "what float32 holds exactly")
    with np.errstate(over="ignore"):  # found as not finite
        return array.astype(np.float32, copy=False)


def _has_channels_first(first: int, second: int, third: int) -> bool:
    """Whether the shape of an image is (channels, height, width), going by which are few, or by
    which two are the same."""
    larger = min(second, third) > max(first, FEW[-1])
    return larger and (first in FEW or second == third)


def _mask(path: Path, split: str, contents: Contents, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask of the examples, of their rank; None where there is none."""
    lengths, mask = (contents.get(f"{split}_{kind}") for kind in ("lengths", "mask"))
    if lengths is not None and mask is not None:
        raise _wrong(path, f"{split}_lengths", f"a {split}_mask beside it", "one of them")
    if lengths is not None:
        found, steps = lengths(), shape[1] if len(shape) == 3 else 0
        got = f"{found.dtype} {found.shape} of data {shape}"
        if found.dtype.kind not in "ui" or found.shape != shape[:1] or not steps:
            raise _wrong(
                path, f"{split}_lengths", got, "integers (n,) of data (n, length, channels)"
            )
        if len(found) and not 1 <= found.min() <= found.max() <= steps:
            got = f"lengths from {found.min()} to {found.max()}"
            raise _wrong(path, f"{split}_lengths", got, f"1 to {steps}")
        return (np.arange(steps) < found[:, None])[..., None]
    if mask is not None:
        found = mask() > 0
        found = found[..., None] if found.ndim == len(shape) - 1 else found
        check_mask(f"path: {split}_mask of {path}", found, shape)
        return found
    return None


def _labels(
    path: Path, split: str, contents: Contents
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels of the split, and the class names: the file's, or numbers up to the largest label."""
    found = {name: read() for name, read in contents.items() if name.endswith("_labels")}
    for name, labels in found.items():
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise _wrong(path, name, f"{labels.dtype} {labels.shape}", "integers (n,)")
    own = found.get(f"{split}_labels")
    if "class_names" in contents:
        names = contents["class_names"]()
        if names.ndim != 1 or names.dtype.kind not in "UT":
            raise _wrong(path, "class_names", f"{names.dtype} {names.shape}", "text (classes,)")
        return own, tuple(str(name) for name in names)
    largest = max((int(labels.max()) for labels in found.values() if labels.size), default=-1)
    for name, labels in found.items():
        if labels.size and labels.max() >= MOST_CLASSES:
            expected = f"class_names, or labels below {MOST_CLASSES}"
            raise _wrong(path, name, f"label {labels.max()}", expected)
        if is_far(labels):
            got = f"label {labels.max()}, far above all others"
            raise _wrong(path, name, got, "class_names, or labels 0, 1, ... (-1 is none)")
    return own, tuple(map(str, range(largest + 1)))


def is_far(labels: np.ndarray) -> bool:
    """Whether the largest label is no class, as a -1 that was stored without a sign."""
    known = np.unique(labels)
    if len(known) < 2:
        return False
    second, largest = (int(label) for label in known[-2:])
    unsigned = labels.dtype.kind == "u" and largest == np.iinfo(labels.dtype).max
    return largest > 2 * second + FAR or (unsigned and largest > second + 1)


def _wrong(path: Path, name: str, got: str, expected: str) -> InvalidValue:
    return InvalidValue("path", Words(f"{name} of {path}: {got}"), expected)
