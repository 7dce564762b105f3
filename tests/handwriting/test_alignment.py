import itertools

import numpy as np
import pytest
from PIL import Image

from handwriting.alignment import FLOOR, path, picture, spans, write_picture
from handwriting.drawing import Span
from options.errors import InvalidValue

TEXT = "to be"
COUNTS = [4, 3, 0, 6, 2]  # points of each character, none of the space
PLANTED = np.repeat(np.arange(5), COUNTS)


def planted(noise, seed=0):
    """Weights of the planted path among others of a share `noise`."""
    other = np.random.default_rng(seed).dirichlet(np.ones(5), len(PLANTED))
    return (1 - noise) * np.eye(5)[PLANTED] + noise * other


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
def test_planted_spans_are_found(noise):
    found = spans(planted(noise), TEXT)
    assert found == (
        Span("t", 0, 4), Span("o", 4, 7), Span(" ", 7, 7), Span("b", 7, 13), Span("e", 13, 15),
    )  # fmt: skip


def test_the_path_never_goes_back_where_the_greatest_weight_does():
    weights = planted(0.1)
    weights[5] = [0.9, 0.1, 0, 0, 0]
    assert (weights.argmax(1) != PLANTED).any()
    np.testing.assert_array_equal(path(weights), PLANTED)


@pytest.mark.parametrize("seed", range(5))
def test_no_monotone_path_is_better(seed):
    weights = np.random.default_rng(seed).dirichlet(np.ones(4), 6)
    gains = np.log(weights + FLOOR)
    every = list(itertools.combinations_with_replacement(range(4), 6))
    best = max(every, key=lambda p: gains[np.arange(6), p].sum())
    np.testing.assert_array_equal(path(weights), best)


def test_uniform_weights_are_all_of_the_first_character():
    np.testing.assert_array_equal(path(np.full((3, 2), 0.5)), [0, 0, 0])


def test_the_picture_is_dark_where_weights_are_and_names_the_characters(tmp_path):
    shown = picture(planted(0.0), TEXT)
    assert shown.dtype == np.uint8 and min(shown.shape[:2]) > 200
    marks = (shown == (30, 90, 200)).all(-1)
    black = (shown[:, marks.any(0).argmax() :] == 0).all(-1).sum()
    assert black == 7 * marks.sum()  # seven rows of a band, one of the span
    write_picture(tmp_path / "a.png", planted(0.0), TEXT)
    assert np.asarray(Image.open(tmp_path / "a.png")).shape == shown.shape


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((3, 4)), "text: got weights of 4 characters, expected as many as it has, 5"),
        (np.full((3, 5), np.nan), "weights: got negative or not finite ones"),
        (-np.ones((3, 5)), "weights: got negative"),
        (np.ones((0, 5)), "weights: got none"),
    ],
)
def test_what_is_no_alignment_is_refused(weights, message):
    with pytest.raises(InvalidValue, match=message):
        spans(weights, TEXT)
