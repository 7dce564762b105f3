import numpy as np
import pytest
from handwriting_sketches import line

from handwriting.wrapping import Widths, wrapped
from options.errors import InvalidValue


def test_words_stay_whole_and_lines_are_as_full_as_they_can_be():
    text = "Call me Ishmael. Some years ago"
    assert wrapped(text, 16) == ["Call me Ishmael.", "Some years ago"]
    assert wrapped(text, 15) == ["Call me", "Ishmael. Some", "years ago"]
    assert wrapped(text, 100) == [text]


def test_newlines_stay_and_other_white_space_is_one_space():
    assert wrapped(" a  b\t\n\nc ", 10) == ["a b", "", "c"]
    assert wrapped("", 10) == [""]


def test_a_word_longer_than_a_line_is_cut_or_refused():
    assert wrapped("a bcdefgh i", 3) == ["a", "bcd", "efg", "h i"]
    assert wrapped("abcdef", 3) == ["abc", "def"]
    with pytest.raises(InvalidValue, match="width: got 3, expected room for the word 'bcdefgh'"):
        wrapped("a bcdefgh i", 3, split=False)


def test_a_character_wider_than_a_line_is_refused():
    with pytest.raises(InvalidValue, match="width: got 0.5, narrower than 'a'"):
        wrapped("a", 0.5)


def test_the_width_may_be_in_units():
    measure = Widths(1.0, {"i": 0.25, "w": 2.0, " ": 0.5})
    assert measure("wi x") == 3.75
    assert wrapped("ii ii w wi", 2.0, measure) == ["ii ii", "w", "w", "i"]
    assert all(measure(part) <= 2.0 for part in wrapped("iwiwi wxw i", 2.0, measure))


def test_widths_are_fitted_to_lines():
    texts = ["nnn", "nnnn", "nn nn", "h n h", "hhnn nh", "p nn hp", "np"] * 20
    fitted = Widths.fitted(line(text, scale=2.0) for text in texts)
    # Ink ends 0.4 before the next letter would begin, which the fit spreads over the letters.
    errors = np.array([fitted(text) - 2 * (len(text) - 0.4) for text in texts])
    assert abs(errors.mean()) < 0.1 and np.abs(errors).max() < 0.5
    assert fitted("?") == fitted.usual
    with pytest.raises(InvalidValue, match="lines: got none with a text"):
        Widths.fitted([])
