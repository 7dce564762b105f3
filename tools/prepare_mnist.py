"""Prepare MNIST, and sets in its form, as an `.npz` file that `data.source=npz` reads.

    python -m tools.prepare_mnist fashion --source ~/fashion-mnist --out fashion.npz

The source is a folder, or one below it, with the four published files, `train-images-idx3-ubyte`,
`train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each as it is or
with `.gz`; also with a dot in place of the last dash but one, as in `train-images.idx3-ubyte`.

IDX (LeCun et al. 1998): two zeros, 8 for unsigned bytes, the number of axes, each axis as four
bytes, the largest first, and the bytes.
"""

import argparse
import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from options.choices import choose, did_you_mean_path, require
from options.errors import InvalidValue, StorageError, Words
from options.program import one_line_errors
from storage.pictures import write_npz

DIGITS = tuple(map(str, range(10)))
# Xiao et al. 2017, table 2; Clanuwat et al. 2018.
FASHION = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
CLASSES = {"mnist": DIGITS, "fashion": FASHION, "kmnist": KUZUSHIJI}
SPLITS = {"train": "train", "test": "t10k"}
AXES = {"images": 3, "labels": 1}


def file_of(source: Path, split: str, what: str) -> Path:
    """The file of a split; StorageError where there is none."""
    beginning = f"{SPLITS[split]}-{what}"
    names = [f"{beginning}{mark}idx{AXES[what]}-ubyte" for mark in "-."]
    for name in (name + end for name in names for end in ("", ".gz")):
        for path in sorted(source.rglob(name)):
            if path.is_file():
                return path
    raise StorageError("source", but=f"{source} has no file {names[0]}, nor with .gz")


def parse(path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """The array in an IDX file of unsigned bytes; StorageError for any other, or a part of one."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError("source", but=f"{path} cannot be read: {error}") from error
    start = 4 + 4 * axes
    if content[:4] != bytes([0, 0, 8, axes]) or len(content) < start:
        but = f"{path} is no IDX file of unsigned bytes with {axes} axes"
        raise StorageError("source", but=but)
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if len(content) - start != math.prod(shape):
        but = f"{path} says {shape} and has {len(content) - start:,} bytes: it is damaged"
        raise StorageError("source", but=but)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read(source: Path, classes: int) -> dict[str, np.ndarray]:
    """The arrays as `data.arrays` names them."""
    if not source.is_dir():
        raise StorageError("source", but=f"there is no folder {source}{did_you_mean_path(source)}")
    arrays: dict[str, np.ndarray] = {}
    for split in SPLITS:
        images, labels = (parse(file_of(source, split, what), n) for what, n in AXES.items())
        if len(images) != len(labels) or not images.size:
            got = Words(f"{len(images):,} images and {len(labels):,} labels of {split}")
            raise InvalidValue("source", got, "a label of each image")
        got = Words(f"label {labels.max()} of {split}")
        require(labels.max() < classes, "source", got, f"labels below {classes}")
        arrays |= {f"{split}_images": images, f"{split}_labels": labels.astype(np.int64)}
    return arrays


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help=f"one of {', '.join(CLASSES)}: the names of its classes")
    parser.add_argument("--source", type=Path, required=True, help="a folder with the files")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    args = parser.parse_args()
    with one_line_errors():
        names = choose(CLASSES, args.name, "name")
        require(args.out.suffix == ".npz", "out", str(args.out), "the name of an .npz file")
        arrays = read(args.source.expanduser(), len(names))
        write_npz(args.out, **arrays, class_names=np.array(names))
        counts = (f"{split}: {len(arrays[f'{split}_images']):,} images" for split in SPLITS)
        print(f"{args.out}: {', '.join(counts)}")


if __name__ == "__main__":
    main()
