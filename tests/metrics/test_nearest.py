"""Nearest neighbours against brute force, and copies found."""

import numpy as np

from metrics import nearest as nearest_module
from metrics.nearest import memorisation, nearest
from metrics.quality import ImageSet


def images(pixels, reads=None):
    """Images as a data set that counts how many are read at a time."""

    def read(indices):
        if reads is not None:
            reads.append(len(indices))
        return pixels[indices], np.full(len(indices), -1)

    return ImageSet("images", len(pixels), read)


def brute_force(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[:, None] / 255.0 - y[None] / 255.0, axis=-1)


def test_equals_brute_force_whatever_the_block():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (37, 12), np.uint8), random.integers(0, 256, (53, 12), np.uint8)
    full = brute_force(x, y)
    for block in (5, 16, 100):
        distance, index = nearest(x, y, block=block)
        np.testing.assert_array_equal(index, full.argmin(1))
        np.testing.assert_allclose(distance, full.min(1), rtol=1e-5)


def test_an_excluded_image_is_not_its_own_neighbour():
    y = np.random.default_rng(0).integers(0, 256, (41, 6), np.uint8)
    y[7] = y[30]
    full = brute_force(y, y) + np.diag(np.full(41, np.inf))
    some = np.array([3, 7, 30, 40])
    distance, index = nearest(y[some], y, exclude=some, block=8)
    np.testing.assert_allclose(distance, full[some].min(1), rtol=1e-5)
    assert (index[1], index[2], distance[1]) == (30, 7, 0.0)


def test_copies_are_exact_zeros_and_named():
    random = np.random.default_rng(0)
    train, held_out, fresh = (random.integers(0, 256, (n, 4, 4, 1), np.uint8) for n in (60, 50, 50))
    honest = memorisation(fresh, images(train), images(held_out))
    assert honest["suspects"] < 0.15 and 0.8 < honest["ratio"] < 1.25
    given = images(train)
    copied = memorisation(np.concatenate([fresh, train[17:18]]), given, images(held_out))
    assert copied["nearest_pairs"][0] == {"sample": 50, "train": 17, "distance": 0.0}
    assert memorisation(train, given, images(held_out))["suspects"] == 1.0


def test_training_images_are_read_a_block_at_a_time(monkeypatch):
    random = np.random.default_rng(1)
    train, samples = (random.integers(0, 256, (n, 4, 4, 1), np.uint8) for n in (61, 9))
    whole = memorisation(samples, images(train), None, max_real=7)
    monkeypatch.setattr(nearest_module, "BLOCK_BYTES", 4 * 16 * 10)
    reads = []
    parts = memorisation(samples, images(train, reads), None, max_real=7)
    assert parts == whole and reads == [7, *[10] * 6, 1]
