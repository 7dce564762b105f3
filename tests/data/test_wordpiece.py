"""Texts as the tokens of BERT."""

import sys

import numpy as np
import pytest

from data.wordpiece import WordPiece
from options.errors import InvalidValue, NotInstalled

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "cafe", "a", ",")


def test_pieces_are_the_longest_that_fit_and_accents_are_taken_off():
    pytest.importorskip("tokenizers")
    ids, mask = WordPiece(PIECES).encode(["Unaffable, Café", "a zebra", "", "  "])
    np.testing.assert_array_equal(ids[0], [2, 4, 5, 6, 9, 7, 3])
    np.testing.assert_array_equal(ids[1], [2, 8, 1, 3, 0, 0, 0])
    np.testing.assert_array_equal(mask.sum(1), [7, 4, 0, 0])
    cased = WordPiece(PIECES, lower=False).encode(["Café cafe"], length=8)
    np.testing.assert_array_equal(cased[0], [[2, 1, 7, 3, 0, 0, 0, 0]])


def test_only_texts_without_words_have_one_place():
    pytest.importorskip("tokenizers")
    ids, mask = WordPiece(PIECES).encode([""])
    assert ids.shape == (1, 1) and not mask.any()


@pytest.mark.parametrize("most, length", [(5, 0), (5, 9), (512, 5)])
def test_a_text_that_is_too_long_is_refused(most, length):
    pytest.importorskip("tokenizers")
    with pytest.raises(InvalidValue, match="text: got 'a a a a', but 6 tokens, of at most 5"):
        WordPiece(PIECES, most=most).encode(["a", "a a a a"], length)


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"vocabulary": ("[PAD]", "[UNK]", "a")}, r"vocabulary: got no \[CLS\], \[SEP\]"),
        ({"vocabulary": (*PIECES, "a")}, "vocabulary: got a piece twice, expected distinct"),
        ({"vocabulary": PIECES, "most": 2}, "most: got 2, expected 3 or more"),
    ],
)
def test_what_cannot_work_is_refused(fields, expected):
    with pytest.raises(InvalidValue, match=expected):
        WordPiece(**fields)


def test_without_the_package_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(NotInstalled, match=r"tokenizers is not installed: pip install .*\[text\]"):
        WordPiece(PIECES).encode(["a"])
