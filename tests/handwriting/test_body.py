import numpy as np
import pytest
from handwriting_sketches import strokes as sketched

from data.strokes import Strokes
from handwriting.body import body
from handwriting.hand import Hand
from handwriting.pen_font import PenFont
from handwriting.preprocessing import to_strokes
from options.errors import InvalidValue


@pytest.mark.parametrize("text", ["nnnn nnn", "nhnn pnhn", "pppn npnpn", "hhnhn nn"])
@pytest.mark.parametrize("scale", [1.0, 0.03, 40.0])
def test_a_line_has_its_baseline_and_height_whatever_hangs_down(text, scale):
    found = body([stroke + [5.0, 7.0] for stroke in sketched(text, scale)])
    assert found.y_0 == pytest.approx(7.0, abs=0.05 * scale)
    assert found.height == pytest.approx(scale, rel=0.06)
    assert found.slope == pytest.approx(0, abs=0.006)


@pytest.mark.parametrize("slope", [-0.08, 0.03])
def test_a_slope_is_found_and_taken_out(slope):
    straight = sketched("nhnnpn nnhn pnnn")
    tilted = [stroke + slope * stroke[:, :1] * [0, 1] + [0, 3] for stroke in straight]
    found = body(tilted)
    assert found.slope == pytest.approx(slope, abs=0.011)
    levelled = found.levelled(tilted)
    assert max(np.abs(a - b).max() for a, b in zip(levelled, straight, strict=True)) < 0.2


def test_the_letter_x_of_embedded_lines_is_as_high_as_their_hands_write_it():
    """The unit of the lines is the letter x of the font, and a hand's own size is known."""
    source = Strokes().read("train")
    errors = []
    for index in range(0, len(source), 7):
        line = source.line(index)
        if sum(map(str.islower, line.text)) >= 0.75 * len(line.text.replace(" ", "")):
            font, number = line.writer.split("/")
            size = Hand.of(PenFont(font, {}), int(number), seed=0).size
            errors.append(abs(np.log(body(to_strokes(line.offsets)).height / size)))
    assert len(errors) > 200
    assert np.percentile(errors, 50) < 0.06 and np.percentile(errors, 95) < 0.25


def test_embedded_lines_without_descenders_end_at_their_baseline():
    flat = set("abcdehiklmnorstuvwxABCDEFHIKLMNOPRSTUVWX .")
    source = Strokes().read("test")
    below = []
    for index in [k for k, text in enumerate(source.texts) if set(text) <= flat]:
        strokes = to_strokes(source.line(index).offsets)
        found = body(strokes)
        y = np.concatenate(found.levelled(strokes))[:, 1] / found.height
        below.append(np.percentile(y, 97))
    assert len(below) > 20 and min(below) > -0.1 and max(below) < 0.3


def test_dots_have_no_height_and_nothing_is_refused():
    assert body([np.array([[1.0, 2.0]]), np.array([[4.0, 2.0]])]) == body([np.array([[0.0, 2.0]])])
    with pytest.raises(InvalidValue, match="strokes: got no point"):
        body([np.zeros((0, 2))])
