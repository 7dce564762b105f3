import numpy as np
import pytest

from data import SOURCES, emoji
from data.emoji import PATH

CLASSES = "activities animals flags food objects people smileys symbols travel"


def test_the_splits_hold_different_pictures():
    train, test = emoji("train"), emoji("test")
    assert (len(train), len(test)) == (7016, 760)
    assert len({image.tobytes() for image in (*train.images, *test.images)}) == 7776


def test_every_class_is_there():
    assert " ".join(emoji().class_names) == CLASSES
    assert emoji().shape == (32, 32, 3)
    assert np.bincount(emoji("train").labels, minlength=9).min() >= 350
    assert np.bincount(emoji("test").labels, minlength=9).min() >= 31


def test_the_names_of_a_split_are_not_those_of_the_other():
    with np.load(PATH) as file:
        names = [
            {str(name).split("/")[1] for name in file[f"{split}_names"]}
            for split in ("train", "test")
        ]
    assert len(names[1]) > 200 and not names[0] & names[1]


def test_the_pictures_are_drawn_on_white_and_in_colour():
    for split in ("train", "test"):
        images = emoji(split).images
        assert all((edge == 255).all() for edge in (images[:, :2], images[:, :, -2:]))
        saturation = np.ptp(images, axis=-1).max((1, 2))
        assert np.mean(saturation > 60) > 0.85


def test_the_labels_are_of_the_pictures():
    # The mean picture of a class is a template; chance, or the commonest class, is below 0.23.
    train, test = emoji("train"), emoji("test")
    flat = train.images.reshape(len(train), -1).astype(np.float32)
    templates = np.stack([flat[train.labels == k].mean(0) for k in range(9)])
    held_out = test.images.reshape(len(test), -1).astype(np.float32)
    distance = np.square(templates).sum(1) - 2 * (held_out @ templates.T)
    assert np.mean(distance.argmin(1) == test.labels) > 0.3


def test_a_leading_part_is_a_fair_sample():
    share = np.bincount(emoji("train").labels[:1000]) / 1000
    assert np.abs(share - np.bincount(emoji("train").labels) / 7016).max() < 0.03


def test_the_file_is_small_and_the_tables_know_it():
    assert PATH.stat().st_size < 4.2e6
    source = SOURCES["emoji"]().read("test")
    assert source.name == "emoji/test"
    assert (source.channels, source.num_classes) == (3, 9)


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match=r"split: got 'val', expected one of \['test', 'train'\]"):
        emoji("val")
