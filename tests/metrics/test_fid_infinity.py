"""The extrapolated FID against the true one, which that of few samples is far above."""

import numpy as np
import pytest

from metrics.fid import Moments, frechet_distance
from metrics.fid_infinity import fid_infinity, sizes


def test_the_limit_of_many_samples_is_reached_from_few():
    dim, count = 12, 400
    reference = Moments(10**9, np.zeros(dim), np.eye(dim))
    truth, estimates, plain = dim * 0.1**2, [], []
    for seed in range(12):
        x = np.random.default_rng(seed).normal(0.1, 1.0, (count, dim))
        estimates.append(fid_infinity(x, reference, seed=seed).value)
        plain.append(frechet_distance(Moments.of(x), reference))
    spread = np.std(estimates, ddof=1) / np.sqrt(12)
    assert abs(np.mean(estimates) - truth) < 4 * spread
    assert np.mean(plain) - truth > 0.1 > 8 * abs(np.mean(estimates) - truth)


def test_the_line_is_that_of_the_values_it_gives():
    x = np.random.default_rng(0).normal(size=(60, 3))
    reference = Moments(9, np.zeros(3), np.eye(3))
    found = fid_infinity(x, reference, points=7)
    assert found.counts[0] == 6 and found.counts[-1] == 60 and len(found.values) == 7
    assert abs(found.values[-1] - frechet_distance(Moments.of(x), reference)) < 1e-9
    weights = np.stack([np.ones(7), 1 / np.array(found.counts)], axis=1)
    (intercept, slope), *_ = np.linalg.lstsq(weights, np.array(found.values))
    assert abs(intercept - found.value) < 1e-9 and abs(slope - found.slope) < 1e-7


def test_the_published_sizes():
    """15 from 5,000 to 50,000."""
    assert sizes(50_000)[0] == 5000 and sizes(50_000)[-1] == 50_000 and len(sizes(50_000)) == 15
    assert sizes(1000)[0] == 100


def test_refuses_too_few():
    with pytest.raises(ValueError, match="samples: got 19 images"):
        fid_infinity(np.zeros((19, 2)), Moments(9, np.zeros(2), np.eye(2)))
