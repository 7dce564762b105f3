"""What is said of the time that a run will take."""

import pytest

from training.expectation import SHORTER, Expectation, in_words


def said(steps, seconds, of, clock=None):
    """Of a run of `of` steps, dispatched by as many as `steps` that take `seconds`."""
    expectation, found = Expectation(0, of), []
    for _ in range(of // steps):
        found += expectation.took(steps, seconds, clock)
    return found


def test_the_rest_is_said_once_by_the_first_steps_without_the_very_first():
    expectation = Expectation(100, 2_100)
    assert list(expectation.took(10, 99.0)) == []  # as slow as the first may be
    assert list(expectation.took(10, 6.0)) == []
    line = "the 1,970 steps left will take about 20 minutes, plots and measurements apart"
    assert list(expectation.took(10, 6.0)) == [line]
    assert list(expectation.took(10, 60.0)) == []


def test_a_short_run_says_nothing():
    assert said(1, 0.1, 50) == [] and said(10, 20.0, 20) == []


def test_more_than_a_day_has_a_line_on_what_to_do():
    assert said(1, 1.0, 86_000)[1:] == []
    assert said(1, 1.0, 90_000)[1:] == [SHORTER]
    assert "25.0 hours" in said(1, 1.0, 90_000)[0]


def test_a_run_that_the_clock_ends_is_said_to():
    (line,) = said(10, 5.0, 1_000_000, clock=600.0)
    assert line == (
        "training.max_seconds ends the run in 10 minutes, after about 1,200 of the 999,970 steps "
        "left"
    )
    assert said(10, 5.0, 100, clock=600.0)[0].startswith("the 70 steps left will take")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(89.4, "89 seconds"), (90, "2 minutes"), (5000, "83 minutes"), (7200, "2.0 hours"),
     (100_000, "27.8 hours"), (500_000, "5.8 days")],
)  # fmt: skip
def test_durations_have_a_unit_that_suits_them(seconds, words):
    assert in_words(seconds) == words
