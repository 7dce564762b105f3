"""The sliced Wasserstein distance against closed forms and quantile by quantile."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from metrics.mind import mind, wasserstein


def test_a_shift_is_three_times_its_square():
    """mean_u (u.d)^2 = |d|^2 / dim, times 3 dim."""
    x = np.random.default_rng(0).normal(size=(50, 16))
    shift = np.linspace(-1, 1, 16)
    found = mind(x, x + shift, directions=4000)
    expected = 3 * np.sum(shift**2)
    assert abs(found.value - expected) < 4 * found.standard_error < 0.1 * expected
    assert mind(x, x).value == 0 and found.directions == 4000


def test_in_one_dimension_it_is_three_times_the_wasserstein_distance():
    """Of two steps at 0 and 1: the quantile functions differ by 1 on the part that moves."""
    a, b = np.array([[0.0], [0.0], [1.0]]), np.array([[0.0], [1.0]])
    assert abs(mind(a, b, directions=3).value - 3 * (2 / 3 - 1 / 2)) < 1e-12


def test_unequal_numbers_equal_the_sets_repeated_to_one_number():
    random = np.random.default_rng(1)
    a, b = random.normal(size=(3, 6)), random.normal(1.0, 2.0, (3, 10))
    same = wasserstein(np.repeat(a, 5, axis=1), np.repeat(b, 3, axis=1))
    np.testing.assert_allclose(wasserstein(a, b), same, rtol=1e-12)
    # Of indicators, whose distance is the same in every power.
    a, b = (random.random((3, n)) < p for n, p in ((7, 0.3), (11, 0.6)))
    expected = [wasserstein_distance(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(wasserstein(a * 1.0, b * 1.0), expected, atol=1e-12)


def test_the_definition_of_torch_fidelity_with_its_own_directions():
    """3 dim x the mean over directions and samples of squared differences of sorted projections."""
    random = np.random.default_rng(2)
    x, y = random.normal(size=(20, 8)), random.normal(0.3, 1.2, (20, 8))
    u = np.random.default_rng(5).standard_normal((1000, 8))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    expected = 3 * 8 * np.mean((np.sort(x @ u.T, axis=0) - np.sort(y @ u.T, axis=0)) ** 2)
    found = mind(x, y, seed=4)
    assert abs(found.value - expected) < 6 * found.standard_error < 0.2 * expected


def test_refuses_features_of_two_networks():
    with pytest.raises(ValueError, match="dimensions"):
        mind(np.zeros((9, 3)), np.zeros((9, 2)))
