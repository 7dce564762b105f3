import numpy as np
import pytest

from handwriting.pen_font import SPACING, single_line, traced
from options.errors import InvalidValue

BOX = "M 0 0 L 0 500 L 300 500 L 300 0 Z"


def svg(**glyphs):
    """A single-line font whose letters are boxes but for those that are given."""
    paths = {c: (BOX, 400) for c in "acemnorsuvwxz"} | {" ": ("", 250)} | glyphs
    lines = [
        f'<glyph unicode="{c}" d="{d}" horiz-adv-x="{advance}"/>' if advance
        else f'<glyph unicode="{c}" d="{d}"/>'
        for c, (d, advance) in paths.items()
    ]  # fmt: skip
    return (
        '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><defs>'
        f'<font horiz-adv-x="333"><missing-glyph/>{"".join(lines)}</font></defs></svg>'
    )


LETTERS = "acemnorsuvwxz "


def test_single_lines_are_in_heights_of_x_with_y_down():
    font = single_line(svg(t=("M 100 0 L 100 1000 M 0 500 200 500", 0)), "mine", LETTERS + "t")
    (box,) = font.glyph("x").strokes
    assert font.glyph("x").advance == 0.8 and font.glyph(" ").advance == 0.5
    assert box.min(0).tolist() == [0, -1] and box.max(0) == pytest.approx([0.6, 0])
    assert np.array_equal(box[0], box[-1])  # Z goes back to the start
    stem, bar = font.glyph("t").strokes
    assert stem[[0, -1]].tolist() == [[0.2, 0], [0.2, -2]] and bar[-1].tolist() == [0.4, -1]
    assert font.glyph("t").advance == pytest.approx(333 / 500)
    assert np.linalg.norm(np.diff(stem, axis=0), axis=1).max() <= SPACING


def test_curves_are_cubic():
    circle = "M 500 0 C 500 276.1 276.1 500 0 500"  # a quarter, to 0.03 %
    (arc,) = single_line(svg(o=(circle, 9)), "mine", LETTERS).glyph("o").strokes
    assert np.abs(np.linalg.norm(arc, axis=1) - 1).max() < 0.004


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no XML", "mine: it is no SVG font: ParseError"),
        ("<svg/>", "mine: it is no SVG font: AssertionError"),
        (svg(x=("M 0 0 q 1 2 3 4", 9)), "mine: it is no SVG font: .*path command 'q'"),
        (svg(x=("M 0 0 L 1", 9)), "mine: it is no SVG font"),
        (svg(x=("", 9)), "mine: got a font without 'x', expected all of the characters"),
    ],
)
def test_what_is_no_single_line_font_is_refused(text, message):
    with pytest.raises(InvalidValue, match=message):
        single_line(text, "mine", LETTERS)
    with pytest.raises(InvalidValue, match="mine: got a font without 't%'"):
        single_line(svg(), "mine", LETTERS + "t%")
    with pytest.raises(InvalidValue, match="text: got 't', expected a character of the font mine"):
        single_line(svg(), "mine", LETTERS).glyph("t")


@pytest.fixture(scope="module")
def outlines():
    """A font that comes with matplotlib: upright and of even width."""
    from matplotlib import font_manager

    with open(font_manager.findfont("DejaVu Sans"), "rb") as file:
        return file.read()


def test_outlines_are_traced_in_the_same_units(outlines):
    font = traced(outlines, "dejavu", "acemnorsuvwxz il+.")
    assert font.glyph("l").strokes[0].shape[1] == 2 and len(font.glyph("l").strokes) == 1
    for letter in "acemnorsuvwxz":
        points = np.concatenate(font.glyph(letter).strokes)
        assert np.ptp(points[:, 1]) == pytest.approx(1, abs=0.15)
        assert abs(points[:, 1].max()) < 0.2  # on the baseline
        assert -0.05 < points[:, 0].min() and points[:, 0].max() < font.glyph(letter).advance + 0.1
    assert [len(font.glyph(c).strokes) for c in "i+. "] == [2, 2, 1, 0]
    dot = font.glyph("i").strokes[1]
    assert dot[:, 1].max() < -1.1 and np.ptp(dot, axis=0).max() < 0.3


def test_what_is_no_outline_font_is_refused(outlines):
    with pytest.raises(InvalidValue, match="mine: it is no font"):
        traced(b"nothing", "mine")
    with pytest.raises(InvalidValue, match="mine: it is no font"):
        traced(outlines[:200], "mine")
