"""Distances of images by their features, on features that are known."""

import numpy as np
import pytest

from metrics.feature_distance import FeatureDistance
from metrics.features import Activations, FeatureExtractor


def means_of_columns(images):
    return Activations(np.asarray(images, np.float32).mean(axis=(1, 3)), None)


DISTANCE = FeatureDistance(FeatureExtractor("columns", "1", 2, means_of_columns), batch_size=2)
LEFT, RIGHT, BOTH = (
    np.broadcast_to(np.array(row, np.uint8)[None, :, None], (4, 2, 1))
    for row in ([100, 0], [0, 50], [80, 80])
)


def test_the_distance_is_that_of_directions():
    a, b = np.stack([LEFT, LEFT, LEFT]), np.stack([LEFT // 2, RIGHT, BOTH])
    np.testing.assert_allclose(DISTANCE(a, b), [0.0, 2.0, 2 - np.sqrt(2)], atol=1e-6)


def test_between_is_the_mean_over_all_pairs():
    images = np.stack([LEFT, RIGHT, BOTH])
    pairs = [float(DISTANCE(images[[i]], images[[j]])[0]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert DISTANCE.between(images) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_one_image_has_no_pairs():
    with pytest.raises(ValueError, match="images: got 1, expected at least 2"):
        DISTANCE.between(LEFT[None])
