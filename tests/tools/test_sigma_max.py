import math
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import pdist, squareform

from data import ArraySource, Transform, digits
from tools import sigma_max
from tools.sigma_max import farthest_pair


def source_of(images):
    return ArraySource("test", images, np.zeros(len(images), np.int64))


def brute_force(images):
    """(largest distance, its pair) in double precision."""
    distances = squareform(pdist(images.reshape(len(images), -1).astype(np.float64)))
    pair = np.unravel_index(distances.argmax(), distances.shape)
    return distances.max() / 255, tuple(int(i) for i in sorted(pair))


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (37, 5, 7, 3), (40, 20, 20, 3), (9, 40, 40, 1)])
@pytest.mark.parametrize("block", [1, 8, 64])
def test_it_is_what_brute_force_finds(monkeypatch, shape, block):
    monkeypatch.setattr(sigma_max, "MAX_BLOCK", block)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = farthest_pair(source_of(images))
    distance, pair = brute_force(images)
    assert found.distance == pytest.approx(distance, rel=1e-14)
    assert found.pair == pair


def test_one_grey_level_makes_a_difference_in_many_dimensions():
    # Distances of about 1.7e5 levels that differ by 1e-9: float32 would see no difference.
    images = np.zeros((4, 256, 256, 3), np.uint8)
    images[1] = 255
    images[2] = 255
    images[2, 17, 3, 1] = 254
    images[3] = 1
    found = farthest_pair(source_of(images))
    assert found.pair == (0, 1)
    assert found.distance == pytest.approx(math.sqrt(256 * 256 * 3), rel=1e-14)
    images[1, 0, 0, 0] = images[1, 0, 0, 1] = 254
    assert farthest_pair(source_of(images)).pair == (0, 2)


def test_pairs_that_cannot_win_are_passed_over(monkeypatch):
    monkeypatch.setattr(sigma_max, "MAX_BLOCK", 8)
    rng = np.random.default_rng(0)
    images = rng.integers(120, 136, (200, 8, 8, 1), np.uint8)
    images[50], images[150] = 0, 255
    found = farthest_pair(source_of(images))
    assert found.pair == (50, 150) and found.distance == 8
    assert found.computed < 0.01


def test_images_are_cropped_and_resized_as_for_training():
    images = np.zeros((2, 8, 12, 1), np.uint8)
    images[1, :, 2:10] = 255  # the central square
    assert farthest_pair(source_of(images), Transform(image_size=4)).distance == 4


def test_the_digits_by_brute_force():
    source = ArraySource("part", digits("test").images[:300], np.zeros(300, np.int64))
    assert farthest_pair(source).distance == pytest.approx(brute_force(source.images)[0], rel=1e-14)


def test_one_image_has_no_pair():
    with pytest.raises(ValueError, match="has 1 image, expected at least 2"):
        farthest_pair(source_of(np.zeros((1, 2, 2, 1), np.uint8)))


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["sigma_max", *map(str, arguments)])
    sigma_max.main()


def test_the_command_reads_a_folder(tmp_path, monkeypatch, capsys):
    for value in (0, 100, 255):
        Image.new("RGB", (10, 10), (value,) * 3).save(tmp_path / f"{value}.png")
    run(monkeypatch, "--data", "folder", "--path", tmp_path, "--image_size", 4)
    printed = capsys.readouterr().out
    assert "3 images" in printed and "images 0 and 2" in printed
    assert "sigma_max = 6.928 for data in [0, 1]" in printed
    assert "sigma_max = 13.86 for data in [-1, 1]" in printed


def test_the_command_reads_grey_folders_in_one_channel(tmp_path, monkeypatch, capsys):
    for value in (0, 255):
        Image.new("L", (8, 8), value).save(tmp_path / f"{value}.png")
    run(monkeypatch, "--data", "folder", "--path", tmp_path)
    assert "sigma_max = 8 for data in [0, 1]" in capsys.readouterr().out


def test_with_a_config_the_command_reads_what_training_reads(tmp_path, monkeypatch, capsys):
    for split, values in (("train", (0, 100)), ("test", (255,))):
        (tmp_path / split).mkdir()
        for value in values:
            Image.new("L", (10, 10), value).save(tmp_path / split / f"{value}.png")
    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n"
        f"DATA = {{'source': {{'name': 'folder', 'path': {str(tmp_path)!r}}}, 'image_size': 8}}\n"
        "get_config = lambda: ConfigDict({'data': DATA})\n"
    )
    run(monkeypatch, "--config", tmp_path / "mine.py")
    printed = capsys.readouterr().out
    assert "train: 2 images" in printed and f"sigma_max = {800 / 255:.4g} for" in printed


def test_each_class_has_a_width_of_its_own():
    levels = np.array([0, 100, 10, 250, 3], np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (5, 2, 2, 1))
    source = ArraySource("two", images, np.array([0, 0, 1, 1, 2]), class_names=("a", "b", "c"))
    found = {name: farthest_pair(part) for name, part in sigma_max.by_class(source).items()}
    assert {name: of.distance for name, of in found.items()} == pytest.approx(
        {"a": 2 * 100 / 255, "b": 2 * 240 / 255}  # "c" has one image, which is far from nothing
    )
    with pytest.raises(ValueError, match="by_class: got .*, without classes, expected classes"):
        sigma_max.by_class(ArraySource("none", images, np.zeros(5, int)))


def test_the_command_takes_a_part(monkeypatch, capsys):
    run(monkeypatch, "--data", "digits", "--split", "test", "--max_images", 50)
    assert "digits/test, 50 of 1000: 50 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--data", "folder", "--path", "/no/such/folder"),
            "path: got '/no/such/folder', expected a folder",
        ),
        (("--data", "digits", "--split", "val"), "split: got 'val'"),
        (("--data", "folder"), "path"),
    ],
)
def test_the_command_says_what_is_wrong(monkeypatch, capsys, arguments, message):
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    assert message in capsys.readouterr().err
