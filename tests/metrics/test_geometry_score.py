import numpy as np
import pytest

from metrics.geometry_score import GeometryScore, distances, relative_lifetimes
from options.errors import InvalidValue


def circle(n=500, center=0.0, seed=0):
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angle) + center, np.sin(angle)], axis=1)


def test_lifetimes_of_intervals_that_overlap():
    intervals = np.array([[1.0, 4.0], [2.0, np.inf], [3.0, 3.5]])
    found = relative_lifetimes(intervals, 10.0, 5)
    # None up to 1, one to 2, two to 3, three to 3.5, two to 4, one to 10.
    assert found == pytest.approx([0.1, 0.7, 0.15, 0.05, 0])
    assert relative_lifetimes(intervals, 10.0, 2) == pytest.approx([0.1, 0.7])
    assert relative_lifetimes(np.zeros((0, 2)), 2.0, 3) == pytest.approx([1, 0, 0])


def test_distances():
    found = distances(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 0.0]]))
    assert found == pytest.approx(np.array([[0, 3], [5, 4]]))


@pytest.fixture(scope="module")
def few():
    pytest.importorskip("gudhi")
    return GeometryScore(landmarks=32, gamma=1 / 8, draws=20)


def test_a_circle_has_one_hole_two_have_two_and_a_disc_none(few):
    two = np.concatenate([circle(250), circle(250, 4.0, seed=1)])
    disc = circle() * np.sqrt(np.random.default_rng(2).uniform(0, 1, (500, 1)))
    found = [int(np.argmax(few.lifetimes(points))) for points in (disc, circle(), two)]
    assert found == [0, 1, 2]
    assert few.lifetimes(circle()).sum() == pytest.approx(1)


def test_equal_sets_score_zero_and_like_ones_less_than_others(few):
    one, same = circle(), circle(seed=5)
    two = np.concatenate([circle(250), circle(250, 4.0, seed=1)])
    assert few(one, one) == 0
    assert few(one, same) < 0.05 * few(one, two)


def test_neither_scale_nor_place_matters(few):
    assert few(circle(), 100 * circle() + 7) == pytest.approx(0, abs=1e-6)


def test_points_that_are_all_equal_have_no_holes(few):
    assert few.lifetimes(np.ones((40, 3)))[0] == 1


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(InvalidValue, match="points: got 10 of them, expected at least 64"):
        GeometryScore().lifetimes(np.zeros((10, 2)))
    with pytest.raises(InvalidValue, match="draws: got 0"):
        GeometryScore(draws=0)
