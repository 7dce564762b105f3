import numpy as np
import pytest

from data import Alphabet
from options.errors import InvalidValue

ALPHABET = Alphabet.of(["cab", "a b", ""])


def test_tokens_are_the_characters_of_the_texts_in_order():
    assert ALPHABET.characters == " abc" and len(ALPHABET) == 5
    assert ALPHABET.encode("abba").tolist() == [2, 3, 3, 2]
    padded = ALPHABET.encode("c a", 6)
    assert padded.tolist() == [4, 1, 2, 0, 0, 0] and padded.dtype == np.int32
    assert ALPHABET.decode(padded) == "c a" and ALPHABET.encode("").tolist() == []


def test_an_unknown_character_is_named_or_replaced_when_asked():
    message = r"text: got 'C' \(U\+0043\), 'é' \(U\+00E9\), expected characters of ' abc'"
    with pytest.raises(InvalidValue, match=message):
        ALPHABET.encode("aCéC")
    assert Alphabet(" abc", "b").decode(Alphabet(" abc", "b").encode("aCéc")) == "abbc"
    with pytest.raises(InvalidValue, match="text: got 'abc', expected at most 2 characters"):
        ALPHABET.encode("abc", 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"characters": ""}, "characters: got ''"),
        ({"characters": "aba"}, "characters: got 'aba', expected distinct"),
        ({"characters": "ab", "replacement": "c"}, "replacement: got 'c', expected empty, or one"),
        ({"characters": "ab", "replacement": "ab"}, "replacement: got 'ab'"),
    ],
)
def test_an_alphabet_that_cannot_be_is_refused(given, message):
    with pytest.raises(InvalidValue, match=message):
        Alphabet(**given)
