import numpy as np
import pytest

from handwriting.curves import beziers, flattened


def test_the_curve_passes_through_every_point_and_is_smooth_there():
    points = np.random.default_rng(0).normal(size=(12, 2)) * [3, 1]
    curves = beziers(points)
    np.testing.assert_array_equal(curves[:, 0], points[:-1])
    np.testing.assert_array_equal(curves[:, 3], points[1:])
    arriving, leaving = (curves[:, 3] - curves[:, 2])[:-1], (curves[:, 1] - curves[:, 0])[1:]
    cross = arriving[:, 0] * leaving[:, 1] - arriving[:, 1] * leaving[:, 0]
    assert np.abs(cross).max() < 1e-9 and (np.sum(arriving * leaving, 1) > 0).all()
    flat = flattened(points, 5)
    np.testing.assert_allclose(flat[::5], points, atol=1e-12)


def test_evenly_spaced_points_give_the_uniform_spline():
    """For which b_1 = p_1 + (p_2 - p_0) / 6."""
    p = np.array([[0, 0], [3, 4], [6, 0], [9, 4]], float)
    (_, middle, _) = beziers(p)
    np.testing.assert_allclose(middle[1], p[1] + (p[2] - p[0]) / 6)
    np.testing.assert_allclose(middle[2], p[2] - (p[3] - p[1]) / 6)


def test_a_straight_line_stays_one_however_uneven_its_points_are():
    x = np.array([0, 0.01, 0.02, 5, 5.001, 9])
    flat = flattened(np.stack([x, 2 * x], 1))
    np.testing.assert_allclose(flat[:, 1], 2 * flat[:, 0], atol=1e-12)
    assert (np.diff(flat[:, 0]) > 0).all()  # and never goes back


@pytest.mark.parametrize("count", [1, 3])
def test_a_dot_is_a_point(count):
    dot = np.full((count, 2), 7)
    assert beziers(dot).shape == (0, 4, 2)
    np.testing.assert_array_equal(flattened(dot), [[7, 7]])
