"""The published archives in small: the same members, keys, dtypes and pickle opcodes."""

import io
import pickle
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from data import Loader, tfds
from options.errors import InvalidValue, StorageError
from tools.prepare_cifar10 import CLASSES, prepare, read_archive

PER_FILE = 8
NAMES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, as the published files have them."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        short = len(value) < 256
        size = len(value).to_bytes(1 if short else 4, "little")
        self.write((pickle.SHORT_BINSTRING if short else pickle.BINSTRING) + size + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def batch_file(name, pixels, labels):
    content = {
        b"batch_label": b"testing batch 1 of 1",
        b"labels": labels.tolist(),
        b"data": pixels,
        b"filenames": [b"domestic_cat_s_000907.png"] * len(labels),
    }
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(content)
    # numpy's module had no underscore then.
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def binary_file(pixels, labels):
    return np.concatenate([labels[:, None].astype(np.uint8), pixels], 1).tobytes()


def make_archive(path, binary=False, names=NAMES):
    """(images, labels) of each split, HWC, in the order of the files."""
    rng = np.random.default_rng(0)
    truth = {"train": [], "test": []}
    with tarfile.open(path, "w:gz") as tar:
        folder = "cifar-10-batches-bin" if binary else "cifar-10-batches-py"
        for name in [*names, "batches.meta"]:
            pixels = rng.integers(0, 256, (PER_FILE, 3072), np.uint8)
            labels = rng.integers(0, 10, PER_FILE)
            content = binary_file(pixels, labels) if binary else batch_file(name, pixels, labels)
            member = tarfile.TarInfo(f"{folder}/{name}{'.bin' if binary else ''}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            split = {"d": "train", "t": "test"}.get(name[0])
            if split:
                truth[split].append((pixels, labels))
    return {
        split: (
            np.stack([np.moveaxis(row.reshape(3, 32, 32), 0, -1) for p, _ in parts for row in p]),
            np.concatenate([labels for _, labels in parts]),
        )
        for split, parts in truth.items()
        if parts
    }


@pytest.mark.parametrize("binary", [False, True])
def test_both_archives_are_read(tmp_path, binary):
    truth = make_archive(tmp_path / "cifar.tar.gz", binary)
    arrays = read_archive(tmp_path / "cifar.tar.gz")
    for split, (images, labels) in truth.items():
        assert np.array_equal(arrays[split][0], images)
        assert np.array_equal(arrays[split][1], labels)


def test_the_prepared_set_holds_every_image_with_its_label(tmp_path):
    truth = make_archive(tmp_path / "cifar.tar.gz")
    folder = prepare(tmp_path / "cifar.tar.gz", tmp_path / "out")
    assert folder == tmp_path / "out" / "cifar10" / "1.0.0"
    for split, (images, labels) in truth.items():
        source = tfds(tmp_path / "out", split)
        assert (source.class_names, source.shape) == (CLASSES, (32, 32, 3))
        stored = {source[i]["image"].tobytes(): source[i]["label"] for i in range(len(source))}
        expected = zip(images, labels, strict=True)
        assert stored == {image.tobytes(): int(label) for image, label in expected}
    assert next(Loader(source, 4))["image"].shape == (4, 32, 32, 3)
    with pytest.raises(ValueError, match="output: .* exists"):
        prepare(tmp_path / "cifar.tar.gz", tmp_path / "out")


def test_tensorflow_is_not_needed(tmp_path):
    make_archive(tmp_path / "cifar.tar.gz")
    code = """if True:
        import pathlib, sys
        import data
        from tools.prepare_cifar10 import prepare
        root = pathlib.Path(sys.argv[1])
        source = data.tfds(prepare(root / "cifar.tar.gz", root / "out"), "test")
        print(len(source), source[0]["image"].shape, "tensorflow" in sys.modules)
    """
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == [f"{PER_FILE} (32, 32, 3) False"], done.stderr


def test_a_batch_that_imports_anything_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("owned",)

    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        content = pickle.dumps({b"data": Evil()}, 2)
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    with pytest.raises(InvalidValue, match="archive: got a batch of .*print, expected numpy"):
        read_archive(tmp_path / "evil.tar.gz")


def test_a_bad_archive_is_named(tmp_path):
    path = tmp_path / "cifar.tar.gz"
    with pytest.raises(StorageError, match="archive: there is no file"):
        read_archive(path)
    make_archive(path, names=NAMES[:5])
    with pytest.raises(InvalidValue, match="archive: .* holds no test batch"):
        read_archive(path)
    make_archive(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StorageError, match="archive: .* is not a whole CIFAR-10 archive"):
        read_archive(path)
    path.write_bytes(b"")
    with pytest.raises(StorageError, match="archive: .* is not a whole CIFAR-10 archive"):
        read_archive(path)
