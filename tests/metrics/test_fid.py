"""Frechet distance against golden values, closed forms and streaming."""

import numpy as np
import pytest

from metrics.fid import Moments, frechet_distance


@pytest.mark.parametrize("pair", ["regular", "wide_spectrum", "near_singular"])
def test_matches_the_golden_distances(golden, pair):
    file = golden("inception_fid")
    a, b = (
        Moments(100, file[f"frechet/{pair}/mu{i}"], file[f"frechet/{pair}/sigma{i}"]) for i in "12"
    )
    assert abs(frechet_distance(a, b) - file[f"frechet/{pair}/value"]) < 1e-5
    assert abs(frechet_distance(a, a)) < 1e-5


def test_diagonal_gaussians_in_closed_form():
    std_a, std_b = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 0.0])
    gap = np.array([1.0, -2.0, 0.5])
    a = Moments(10, np.zeros(3), np.diag(std_a**2))
    b = Moments(10, gap, np.diag(std_b**2))
    expected = np.sum(gap**2) + np.sum((std_a - std_b) ** 2)
    assert abs(frechet_distance(a, b) - expected) < 1e-12


def test_merged_batches_equal_the_whole_set():
    x = np.random.default_rng(0).normal(100.0, 1e-2, (57, 5)).astype(np.float32)
    moments = Moments.of(x[:1])
    for start, stop in ((1, 8), (8, 30), (30, 57)):
        moments = moments.merge(Moments.of(x[start:stop]))
    assert moments.count == 57
    np.testing.assert_allclose(moments.mean, x.astype(np.float64).mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(x.astype(np.float64).T), rtol=1e-9)


def test_refuses_what_has_no_distance():
    a = Moments.of(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="dimensions"):
        frechet_distance(a, Moments.of(np.zeros((4, 2))))
    with pytest.raises(ValueError, match="samples: got 1"):
        frechet_distance(a, Moments.of(np.zeros((1, 3))))
