"""Streaming: every image once, whatever the batch size; statistics carry their extractor."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damage import NAMES, damages

from metrics.features import Activations, FeatureExtractor, extract, stream
from metrics.fid import Moments
from metrics.statistics import Statistics
from options.errors import InvalidValue


@pytest.fixture
def mean_and_max() -> FeatureExtractor:
    @jax.jit
    def apply(images):
        x = images.astype(jnp.float32).reshape(len(images), -1)
        return Activations(jnp.stack([x.mean(1), x.max(1)], 1), x[:, :3])

    return FeatureExtractor("mean_and_max", "1", 2, apply)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 5, 4, 3), np.uint8)


@pytest.mark.parametrize("batch_size", [1, 4, 13, 50])
def test_every_image_counts_once(mean_and_max, batch_size):
    x = images(13)
    out = extract(mean_and_max, iter(x), batch_size, progress=False)
    np.testing.assert_array_equal(out.features[:, 1], x.reshape(13, -1).max(1))
    np.testing.assert_array_equal(out.logits, x.reshape(13, -1)[:, :3])
    sizes = [len(part.features) for part in stream(mean_and_max, x, batch_size, progress=False)]
    assert sum(sizes) == 13


def test_refuses_empty_sets_and_mixed_shapes(mean_and_max):
    with pytest.raises(ValueError, match="empty set"):
        extract(mean_and_max, [], progress=False)
    mixed = [np.zeros((4, 4, 1), np.uint8), np.zeros((4, 5, 1), np.uint8)]
    with pytest.raises(ValueError, match="expected one shape"):
        extract(mean_and_max, mixed, progress=False)


def test_statistics_come_back_and_refuse_another_extractor(mean_and_max, tmp_path):
    features = extract(mean_and_max, images(9), progress=False).features
    Statistics.of(mean_and_max, "noise/train", features).save(tmp_path / "stats.npz")
    back = Statistics.load(tmp_path / "stats.npz", mean_and_max)
    assert (back.data, back.moments.count) == ("noise/train", 9)
    np.testing.assert_array_equal(back.features, features)
    np.testing.assert_array_equal(back.moments.covariance, Moments.of(features).covariance)
    newer = dataclasses.replace(mean_and_max, version="2")
    with pytest.raises(
        ValueError, match="got statistics of mean_and_max@1, expected mean_and_max@2"
    ):
        Statistics.load(tmp_path / "stats.npz", newer)


@pytest.mark.parametrize("how", NAMES)
def test_damaged_statistics_are_named(how, mean_and_max, tmp_path):
    path = tmp_path / "stats.npz"
    features = extract(mean_and_max, images(9), progress=False).features
    Statistics.of(mean_and_max, "noise/train", features).save(path)
    path.write_bytes(damages(path.read_bytes())[how])
    with pytest.raises(InvalidValue, match="stats.npz: it holds no statistics"):
        Statistics.load(path, mean_and_max)


@pytest.mark.parametrize("content", [b"text", None])
def test_a_file_of_something_else_holds_no_statistics(content, mean_and_max, tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, train_images=images(3))
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidValue, match="images.npz: it holds no statistics"):
        Statistics.load(path, mean_and_max)
