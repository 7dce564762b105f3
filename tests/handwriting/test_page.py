import dataclasses

import numpy as np
import pytest
from handwriting_sketches import line, strokes

from data.strokes import Line, Strokes
from handwriting.page import Layout, page
from handwriting.preprocessing import to_rows
from options.errors import InvalidValue

STILL = Layout(drift=0.0)
TEXTS = ["nnnn nn", "nhnp nn", "pnpn ph"]


def by_line(drawing, counts):
    return np.split(np.arange(len(drawing.strokes)), np.cumsum(counts)[:-1])


def test_every_point_is_where_the_closed_form_has_it():
    lines = [line(text) for text in TEXTS]
    drawing = page(lines, STILL)
    assert (drawing.width, drawing.height) == (210.0, 297.0)
    assert drawing.text == "\n".join(TEXTS) and drawing.writer == "anna"
    expected = [
        stroke * 2.5 + [20, 15 + 10 * (number + 1)]
        for number, text in enumerate(TEXTS)
        for stroke in strokes(text)
    ]
    assert len(drawing.strokes) == len(expected)
    for got, wanted in zip(drawing.strokes, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=0.3)  # the estimate of the x is near 1


def test_lines_share_one_scale():
    lines = [line("nnnn nn"), line("nhnp nn"), line("nnnn nn", scale=1.2), line("EE EE")]
    sizes = [np.ptp(np.concatenate(page([one], STILL).strokes), axis=0)[0] for one in lines[:3]]
    assert sizes[0] == pytest.approx(sizes[2], rel=0.03)  # alone each is as large as it should be
    whole = page(lines, STILL).strokes
    wide = np.ptp(np.concatenate(whole[14:20]), axis=0)[0]
    assert wide == pytest.approx(1.2 * np.ptp(np.concatenate(whole[:6]), axis=0)[0], rel=0.02)
    assert np.ptp(whole[-1][:, 0]) == pytest.approx(0.6 * 2.5, rel=0.05)  # capitals do not count


def test_a_line_of_capitals_alone_is_as_large_as_capitals_are():
    drawn = np.concatenate(page([line("EE EE")], STILL).strokes)
    assert np.ptp(drawn[:, 1]) == pytest.approx(1.5 * 2.5, rel=0.05)


def test_the_widest_line_fits_and_nothing_leaves_the_page():
    layout = Layout(width=60.0, drift=0.5, seed=3)
    lines = [line("n" * 40), line("nn"), line("nnpn")]
    x = np.concatenate(page(lines, layout).strokes)[:, 0]
    assert 20 <= x.min() and 40 < x.max() <= 45


def test_drift_is_small_seeded_and_of_each_line_alone():
    layout = Layout(drift=0.4, seed=5)
    lines = [line("nnnn nn") for _ in range(25)]
    first, again = page(lines, layout), page(lines, layout)
    other = page(lines, dataclasses.replace(layout, seed=6))
    fewer = page(lines[:3], layout)
    for a, b, c in zip(first.strokes, again.strokes, other.strokes, strict=True):
        assert np.array_equal(a, b) and not np.array_equal(a, c)
    for a, b in zip(fewer.strokes, first.strokes, strict=False):
        np.testing.assert_allclose(a, b)
    starts = np.array([stroke[0] for stroke in first.strokes[::6]])
    moved = starts - page(lines, STILL).strokes[0][0] - [[0, 10 * k] for k in range(25)]
    assert np.abs(moved).max() < 2.5 and 0.2 < moved[:, 1].std() < 0.7 and moved[:, 0].min() >= 0


def test_an_empty_line_takes_its_place_and_a_page_may_be_as_large_as_its_lines():
    lines = [line("nn"), Line(np.zeros((0, 3)), "", "anna"), line("nn", writer="bert")]
    drawing = page(lines, dataclasses.replace(STILL, width=0.0, height=0.0))
    assert drawing.height == 15 + 3 * 10 + 15 and drawing.writer == ""
    assert drawing.width == pytest.approx(20 + 1.6 * 2.5 + 15, rel=0.02)
    gap = drawing.strokes[2][0, 1] - drawing.strokes[0][0, 1]
    assert gap == pytest.approx(20)


def test_dots_alone_are_a_page():
    dot = Line(to_rows([np.array([[3.0, 4.0]])]), ".", "anna")
    assert page([dot], STILL).strokes[0] == pytest.approx(np.array([[20.0, 25.0]]))


@pytest.mark.parametrize(
    ("lines", "layout", "message"),
    [
        ([], STILL, "lines: got nothing to write"),
        ([line("n")] * 27, STILL, "height: got 27 lines, expected at most 26"),
    ],
)
def test_what_is_no_page_is_refused(lines, layout, message):
    with pytest.raises(InvalidValue, match=message):
        page(lines, layout)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 30.0}, "width: got 30.0, expected more than its margins and drift"),
        ({"x_height": 0.0}, "x_height: got 0.0, expected a positive number"),
        ({"line_height": 4.0}, "line_height: got 4.0, expected at least 5"),
        ({"drift": -1.0}, "drift: got -1.0"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_what_is_no_layout_is_refused(fields, message):
    with pytest.raises(InvalidValue, match=message):
        Layout(**fields)


def test_embedded_lines_stand_on_their_lines():
    source = Strokes().read("test")
    drawing = page([source.line(k) for k in range(12)], STILL)
    y = np.concatenate(drawing.strokes)[:, 1]
    assert 20 < y.min() and y.max() < 15 + 12 * 10 + 6
