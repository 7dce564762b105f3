"""MNIST's files in small: the same names, headers and compression."""

import gzip
import subprocess
import sys

import numpy as np
import pytest

from data import Arrays
from options.errors import InvalidValue, StorageError
from tools.prepare_mnist import FASHION, parse, read

NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def idx(array):
    shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def published(folder, zipped=True):
    """The four files, and what is in them."""
    rng, found = np.random.default_rng(0), {}
    folder.mkdir()
    for name, shape in zip(NAMES, ((7, 28, 28), (7,), (3, 28, 28), (3,)), strict=True):
        found[name] = rng.integers(0, 256 if len(shape) > 1 else 10, shape).astype(np.uint8)
        content = idx(found[name])
        if zipped:
            (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(content))
        else:
            (folder / f"{name.replace('-idx', '.idx')}-ubyte").write_bytes(content)
    return found


@pytest.mark.parametrize("zipped", [True, False])
def test_the_command_makes_what_training_reads(tmp_path, zipped):
    files = published(tmp_path / "raw", zipped)
    command = [sys.executable, "-m", "tools.prepare_mnist", "fashion"]
    command += [f"--source={tmp_path}", f"--out={tmp_path / 'fashion.npz'}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.endswith("fashion.npz: train: 7 images, test: 3 images\n")
    for split, (images, labels) in {"train": NAMES[:2], "test": NAMES[2:]}.items():
        source = Arrays(str(tmp_path / "fashion.npz")).read(split)
        found = source.take(np.arange(len(source)))
        np.testing.assert_array_equal(found["image"][..., 0], files[images])
        np.testing.assert_array_equal(found["label"], files[labels])
        assert tuple(source.class_names) == FASHION


def test_a_part_of_the_set_is_refused(tmp_path):
    with pytest.raises(StorageError, match="^source: there is no folder .*none"):
        read(tmp_path / "none", 10)
    folder = tmp_path / "raw"
    files = published(folder)
    with pytest.raises(InvalidValue, match="got label 7 of train, expected labels below 5"):
        read(folder, 5)
    labels = folder / f"{NAMES[1]}-ubyte.gz"
    labels.write_bytes(gzip.compress(idx(files[NAMES[1]][:6])))
    with pytest.raises(InvalidValue, match="got 7 images and 6 labels of train"):
        read(folder, 10)
    labels.unlink()
    with pytest.raises(StorageError, match="has no file train-labels-idx1-ubyte, nor with .gz"):
        read(folder, 10)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "says .*7.* and has 6 bytes: it is damaged"),
        (lambda content: content[:6], "is no IDX file"),
        (lambda content: b"\0\0\x0d" + content[3:], "is no IDX file of unsigned bytes with 1 axes"),
        (lambda content: b"", "is no IDX file"),
    ],
)
def test_a_damaged_file_is_one_error(tmp_path, damage, message):
    whole = idx(np.arange(7, dtype=np.uint8))
    path = tmp_path / "labels"
    path.write_bytes(damage(whole))
    with pytest.raises(StorageError, match=message):
        parse(path, 1)
    cut = tmp_path / "labels.gz"
    cut.write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(StorageError, match="labels.gz cannot be read"):
        parse(cut, 1)
