import pytest

from data.strokes import Strokes
from handwriting.pen_medium import PenMedium
from handwriting.reading import RENDERINGS, best_lines, fifty, legibility
from metrics.recognizers import RECOGNIZERS, load
from options.errors import NotInstalled

LINES = Strokes().read("train")


def test_fifty_different_strings_of_the_characters_that_there_are():
    texts = fifty()
    assert len(set(texts)) == len(texts) == 50
    known = set("".join(LINES.texts))
    assert all(text == text.strip() and set(text) <= known for text in texts)
    assert set("0123456789") <= set("".join(texts))
    assert set("abcdefghijklmnopqrstuvwxyz") <= set("".join(texts))


def test_every_recogniser_has_a_way_of_drawing():
    assert RENDERINGS.keys() == RECOGNIZERS.keys()


@pytest.fixture(scope="module", params=RECOGNIZERS)
def recogniser(request):
    pytest.importorskip("rapidfuzz")
    try:
        load(request.param)
    except NotInstalled as missing:
        pytest.skip(str(missing))
    return request.param


def test_real_lines_are_legible_and_others_texts_are_not(recogniser):
    lines = [PenMedium().for_reader(recogniser, LINES.line(i).offsets) for i in range(12)]
    texts = list(LINES.texts[:12])
    assert legibility(recogniser, lines, texts)["words"].rate < 0.3
    assert legibility(recogniser, lines, texts[::-1])["words"].rate > 0.6


def test_the_best_of_candidates_is_the_line_of_the_text(recogniser):
    lines = [PenMedium().for_reader(recogniser, LINES.line(i).offsets) for i in range(4)]
    candidates = [lines, lines[::-1]]
    assert best_lines(recogniser, candidates, [LINES.texts[1], LINES.texts[0]]) == [1, 3]
