import numpy as np
import pytest

from data import SOURCES, digits
from data.digits import PATH


def test_the_splits_hold_ten_thousand_different_images():
    train, test = digits("train"), digits("test")
    assert (len(train), len(test)) == (9000, 1000)
    images = np.concatenate([train.images, test.images])
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == 10_000


def test_every_digit_is_there():
    assert np.bincount(digits("test").labels).tolist() == [100] * 10
    assert np.bincount(digits("train").labels).min() > 700
    assert digits().class_names == tuple("0123456789")
    assert digits().shape == (28, 28, 1)


def test_the_images_are_digits():
    # The mean image of a class is a template good enough to name 3 of 4 held-out digits.
    train, test = digits("train"), digits("test")
    flat = train.images.reshape(len(train), -1).astype(float)
    templates = np.stack([flat[train.labels == k].mean(0) for k in range(10)])
    held_out = test.images.reshape(len(test), -1).astype(float)
    distance = np.square(held_out[:, None] - templates).sum(-1)
    assert np.mean(distance.argmin(1) == test.labels) > 0.75


def test_a_leading_part_is_a_fair_sample():
    share = np.bincount(digits("train").labels[:1000]) / 1000
    assert np.abs(share - np.bincount(digits("train").labels) / 9000).max() < 0.03


def test_the_file_is_small_and_the_table_knows_it():
    assert PATH.stat().st_size < 2.5e6
    assert SOURCES["digits"]().read("test").name == "digits/test"


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="split: got 'val', expected one of train, test"):
        digits("val")
