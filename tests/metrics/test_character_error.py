import math

import numpy as np
import pytest

from metrics.character_error import PROTOCOLS, best, error_rate
from options.errors import InvalidValue

pytest.importorskip("rapidfuzz")


def test_insertions_deletions_and_substitutions_count_one_each():
    assert error_rate(["kitten"], ["sitting"]).rate == pytest.approx(3 / 7)
    assert error_rate([""], ["abc"]).rate == 1
    assert error_rate(["abcabc"], ["abc"]).rate == 1
    assert error_rate(["abc"], ["abc"]) == (0, pytest.approx(math.nan, nan_ok=True), 1, 1)


def test_the_rate_is_of_all_characters_and_the_standard_error_of_a_ratio():
    found = error_rate(["ab", "abcdefgh"], ["ax", "abcdefgh"])
    assert found.rate == 1 / 10 and found.perfect == 0.5 and found.lines == 2
    residuals = [1 - 0.1 * 2, 0 - 0.1 * 8]
    assert found.standard_error == pytest.approx(math.sqrt(2 * np.sum(np.square(residuals))) / 10)


def test_what_is_said_of_spaces_and_case():
    read, asked = [" of  the past "], ["of thepast"]
    rates = {name: error_rate(read, asked, name).rate for name in PROTOCOLS}
    assert rates == {"raw": 4 / 10, "words": 1 / 10, "letters": 0}
    assert error_rate(["A"], ["a"]).rate == 1


def test_texts_without_a_character_are_refused():
    with pytest.raises(InvalidValue, match="texts: got no character, expected at least one"):
        error_rate(["a"], [" "])


class Labels:
    """Reads what is written in the first row of an image, as codes of characters."""

    name = "labels"

    def __call__(self, images):
        return ["".join(chr(code) for code in image[0] if code) for image in images]


def written(text):
    return np.array([[ord(character) for character in text] or [0]], np.uint8)


def test_the_best_candidate_is_read_with_the_fewest_errors():
    candidates = [
        [written("cot"), written("c a t"), written("cat")],
        [written("dag"), written("dig")],
        [written("x")],
    ]
    assert best(["cat", "dog", "bird"], candidates, Labels()) == [1, 0, 0]
    assert best([], [], Labels()) == []
    with pytest.raises(InvalidValue, match="candidates: got a text without any"):
        best(["cat"], [[]], Labels())
