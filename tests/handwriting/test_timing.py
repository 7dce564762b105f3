import numpy as np
import pytest

from handwriting.drawing import Drawing, Look
from handwriting.timing import SHORTEST, timed, total

LOOK = Look(smooth=False, speed=10.0, pause=0.5)
ANGLE = np.array([[0, 0], [3, 4], [3, 9]], float)  # 10 long
DOT = np.array([[1.0, 1.0]])


def test_a_stroke_takes_its_length_over_the_speed():
    first, dot, last = strokes = timed(Drawing((ANGLE, DOT, ANGLE), 9, 9), LOOK)
    assert (first.begin, first.duration) == (0, 1)
    assert (dot.begin, dot.duration) == (1.5, SHORTEST)
    assert last.begin == pytest.approx(2.0 + SHORTEST)
    assert total(strokes) == pytest.approx(3.0 + SHORTEST)
    assert total([]) == 0


def test_what_is_written_until_a_time_is_as_long_as_the_pen_went():
    (stroke,) = timed(Drawing((ANGLE + 0.0,), 9, 9), LOOK)
    assert len(stroke.until(-0.1)) == 0
    np.testing.assert_allclose(stroke.until(0.0), [[0, 0]])
    np.testing.assert_allclose(stroke.until(0.25), [[0, 0], [1.5, 2]])
    np.testing.assert_allclose(stroke.until(0.7), [[0, 0], [3, 4], [3, 6]])
    np.testing.assert_allclose(stroke.until(7), ANGLE)
