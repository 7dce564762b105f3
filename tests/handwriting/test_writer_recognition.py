import numpy as np
import pytest

from handwriting.writer_recognition import nearest, recognised
from options.errors import InvalidValue


def test_the_fraction_put_down_to_the_right_writer():
    logits = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0], [0.0, 4.0]])
    known = np.array([5, 9])
    assert recognised(logits, known, np.array([5, 9, 9, 9])) == 0.75
    with pytest.raises(InvalidValue, match="writers: got 'strangers'"):
        recognised(logits, known, np.array([5, 9, 9, 1]))


def test_the_nearest_line_is_another_one_and_by_the_mean_over_the_line():
    first = np.array([[0.0, 1.0], [0.0, 1.1], [9.0, 9.0], [9.1, 9.0]])
    features = np.stack([first - 5, first + 5], axis=1)  # two parts, whose mean is `first`
    assert nearest(features, np.array([1, 1, 2, 2])) == 1
    assert nearest(features, np.array([1, 2, 1, 2])) == 0
    assert nearest(features, np.array([1, 1, 2, 3])) == 0.5


def test_lines_among_other_lines():
    ours, theirs = np.array([[0.0], [1.0]]), np.array([[0.1], [0.9], [5.0]])
    found = nearest(ours, np.array([1, 2]), theirs, np.array([1, 2, 3]))
    assert found == 1
    assert nearest(ours, np.array([1, 2]), theirs, np.array([3, 2, 1])) == 0.5
