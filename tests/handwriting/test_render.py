import numpy as np
import pytest

from data.strokes import Strokes
from handwriting.preprocessing import to_rows
from handwriting.render import STYLE, Rendering, drawn, padded
from options.errors import InvalidValue


def points(*pairs):
    return np.array(pairs, float)


def test_a_straight_stroke_is_as_thick_as_the_pen_and_ends_in_half_discs():
    image = drawn([points((5, 5), (25, 5))], 3.0, (10, 30))
    ink = 1 - image / 255
    assert ink[:, 15] == pytest.approx([0, 0, 0, 0.5, 1, 1, 0.5, 0, 0, 0], abs=0.05)
    assert ink.sum() == pytest.approx(20 * 3 + np.pi * 1.5**2, rel=0.02)
    assert (image == image[:, ::-1]).all() and (image == image[::-1]).all()


def test_a_slanted_stroke_is_as_thick_as_an_upright_one():
    slanted = 1 - drawn([points((10, 10), (40, 50))], 4.0, (60, 60)) / 255
    assert slanted.sum() == pytest.approx(50 * 4 + np.pi * 2**2, rel=0.02)


def test_the_ink_fills_the_height_and_the_pen_stays_as_wide():
    for size in (1.0, 7.0):
        rows = to_rows([size * points((0, 0), (0, 3)), size * points((6, 0), (6, 3))])
        image = Rendering(height=64, pen=4.0)(rows)
        assert image.shape == (64, 2 * 60 + 4)
        assert image[:, 2].max() < 60 and image[:, 60].min() == 255
        assert image[32, :4].max() <= 2 and image[32, -4:].max() <= 2


def test_every_stroke_is_drawn_and_no_way_above_the_paper():
    rows = to_rows([points((0, 0), (0, 10)), points((10, 0), (10, 10)), points((20, 5))])
    image = Rendering(height=50, pen=2.0)(rows)
    columns = np.flatnonzero(image.min(axis=0) < 255)
    assert set(columns) == {0, 1, 48, 49, 96, 97} | set(columns[np.isin(columns, [47, 50, 95])])
    assert image[25, -2:].min() < 128  # the last stroke, a dot


def test_y_is_up_in_rows_and_a_mirrored_line_is_the_mirrored_image():
    rows = to_rows([points((0, 0), (4, 9), (7, 2))])
    above = Rendering(height=40)(rows)
    below = Rendering(height=40)(rows * [1, -1, 1])
    assert np.abs(above.astype(int) - below[::-1]).max() <= 1


def test_margins_are_white_and_wide_lines_are_cut():
    rows = Strokes().read("train").line(0).offsets
    image = Rendering(margin=8)(rows)
    assert (image[:8] == 255).all() and (image[-8:] == 255).all()
    assert (image[:, :8] == 255).all() and (image[:, -8:] == 255).all()
    whole = Rendering()(rows)
    cut = Rendering(widest=200)(rows)
    assert cut.shape == (96, 200) and (cut == whole[:, :200]).all()


@pytest.mark.parametrize(
    "strokes", ([points((0, 0))], [points((0, 0), (1, 0))], [points((0, 0), (0, 1))])
)
def test_what_has_no_extent_is_drawn_too(strokes):
    image = Rendering(height=96, pen=2.0)(to_rows(strokes))
    assert image.shape[0] == 96 and image.min() < 128
    assert Rendering()(np.zeros((0, 3))).min() < 128


def test_lines_are_padded_with_white():
    one, two = Rendering()(to_rows([points((0, 0), (1, 1))])), np.zeros((96, 200), np.uint8)
    both = padded([one, two])
    assert both.shape == (2, 96, 200) and (both[0, :, one.shape[1] :] == 255).all()
    assert padded([one, two], 50).shape == (2, 96, 50)
    lines = [Strokes().read("train").line(i).offsets for i in range(2)]
    assert STYLE.batch(lines, 1400).shape == (2, 96, 1400)


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(InvalidValue, match="pen: got 0, expected more than 0 px"):
        Rendering(pen=0)
    with pytest.raises(InvalidValue, match="pen: got 2.0, expected .* less than 0 px"):
        Rendering(height=20, margin=10)
