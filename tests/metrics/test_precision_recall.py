"""Precision and recall against their definition, pair by pair, and where they are known."""

import numpy as np
import pytest

from metrics import precision_recall as module
from metrics.precision_recall import precision_recall


def by_definition(samples, reference, k):
    """Every distance by itself."""

    def manifold(points):
        return [sorted(np.linalg.norm(points - p, axis=1))[k] for p in points]

    def fraction(x, y):
        balls = list(zip(y, manifold(y), strict=True))
        return np.mean([any(np.linalg.norm(p - q) <= r for q, r in balls) for p in x])

    return fraction(samples, reference), fraction(reference, samples)


@pytest.mark.parametrize("k", [1, 3])
def test_equals_the_definition_whatever_the_block(k, monkeypatch):
    random = np.random.default_rng(0)
    samples, reference = random.normal(size=(31, 4)), random.normal(1.2, 1.0, (43, 4))
    expected = by_definition(samples, reference, k)
    assert 0 < expected[0] < 1 and 0 < expected[1] < 1
    for block in (7, 1024):
        monkeypatch.setattr(module, "BLOCK", block)
        found = precision_recall(samples, reference, k)
        assert (found.precision, found.recall) == expected


def test_a_far_off_mean_costs_no_digits():
    random = np.random.default_rng(1)
    samples, reference = random.normal(size=(40, 3)), random.normal(size=(40, 3))
    near = precision_recall(samples, reference)
    assert precision_recall(samples + 1e6, reference + 1e6) == near


def test_dropped_modes_cost_recall_and_outliers_precision():
    random = np.random.default_rng(2)
    modes = np.repeat([0.0, 10.0], 200)[:, None] + random.normal(0, 0.5, (400, 1))
    one = random.normal(0, 0.5, (400, 1))
    half = precision_recall(one, modes)
    assert half.precision > 0.95 and abs(half.recall - 0.5) < 0.05
    far = np.concatenate([modes[::2], np.full((200, 1), 100.0)])
    assert precision_recall(far, modes).precision == 0.5


def test_refuses_what_has_none():
    with pytest.raises(ValueError, match="samples: got 3 images, expected more than 3"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(ValueError, match="dimensions"):
        precision_recall(np.zeros((9, 3)), np.zeros((9, 2)))
