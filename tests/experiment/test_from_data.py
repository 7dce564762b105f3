"""What a configuration leaves to its data: the size of images, channels, and classes."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from experiment import kinds
from experiment.from_data import fitted, left_to_data, settled, with_fields
from options.errors import InvalidValue
from tasks.conditions import ClassLabel

SMALL = "configs/folder_small.py"
RANDOM = np.random.default_rng(0)


def images(folder, sizes, channels=3):
    """A folder with images of (height, width)."""
    folder.mkdir(parents=True)
    for i, size in enumerate(sizes):
        pixels = RANDOM.integers(0, 256, (*size, channels), np.uint8)
        Image.fromarray(pixels.squeeze()).save(folder / f"{i}.png")
    return folder


def of(folder, **overrides):
    return kinds.open_experiment(SMALL, {"data.source.path": str(folder), **overrides})


def test_size_channels_and_classes_are_those_of_the_folder(tmp_path):
    for name in ("cat", "dog"):
        images(tmp_path / "pets" / name, [(48, 64), (48, 64), (90, 30)])
    experiment = of(tmp_path / "pets")
    experiment.check_all(1)
    assert experiment.shape == (32, 44, 3)
    assert experiment.conditions == (ClassLabel(2, dropout=0.1),)
    assert experiment.config.conditions.labels.num_classes == 2
    # The same again, and without the folder: the configuration is settled.
    assert settled(experiment.config) is experiment.config


def test_what_data_say_are_fields_by_name_set_in_one_way(tmp_path):
    folder = images(tmp_path / "grey", [(28, 28)] * 3, channels=1)
    left = kinds.load(SMALL, {"data.source.path": str(folder)})
    found = left_to_data(left)
    assert found == {
        "data.image_size": (28, 28), "data.num_channels": 1, "conditions.labels": None
    }  # fmt: skip
    assert with_fields(left, found) == settled(left) != left
    experiment = kinds.experiment(left)
    assert left_to_data(experiment.config) == {}
    added = {"data.class_names": ("cat", "dog")}  # as a training adds them
    assert with_fields(experiment.config, added).data.class_names == ("cat", "dog")
    assert experiment.config.data.class_names == ()
    with pytest.raises(KeyError):
        with_fields(left, {"data.colour": 1})


def test_grey_images_without_classes(tmp_path):
    experiment = of(images(tmp_path / "grey", [(28, 28)] * 3, channels=1))
    experiment.check_all(1)
    assert experiment.shape == (28, 28, 1) and experiment.conditions == ()


def test_what_a_configuration_says_is_kept(tmp_path):
    folder = images(tmp_path / "all", [(28, 28)] * 3, channels=1)
    experiment = of(folder, **{"data.image_size": (16,), "data.num_channels": 3})
    assert experiment.shape == (16, 16, 3) and experiment.config.data.num_channels == 3
    assert of(folder, **{"data.fit": 20}).shape == (20, 20, 1)
    given = kinds.load("configs/digits/vp.py")
    assert settled(given) is given
    other = ConfigDict({"task": "mine:Other"})  # a kind of experiment without such data
    assert settled(other) is other


@pytest.mark.parametrize(
    ("size", "found"),
    [
        ((28, 28), (28, 28)),
        ((48, 64), (32, 44)),  # 32 x 42.7
        ((3000, 2000), (48, 32)),
        ((30, 1000), (4, 64)),  # longer than twice the shorter
        ((5, 6), (4, 8)),
        ((1, 1), (4, 4)),
    ],
)
def test_sizes_are_shrunk_in_their_proportions(size, found):
    assert fitted(size, 32) == found


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidValue, match="data.source.path: got .*gone', expected a folder"):
        of(tmp_path / "gone")
