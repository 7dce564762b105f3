import json
import os

import numpy as np
import pytest

from handwriting.ink import Collection, Ink
from handwriting.json_strokes import read_json
from handwriting.preprocessing import PRESETS
from options.errors import InvalidValue

LINE = {"text": "Call me", "writer": "anna", "strokes": [[[10, 20], [11.5, 22]], [[15, 20, 0.3]]]}


def read(tmp_path, data):
    (tmp_path / "mine.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return read_json(tmp_path)


@pytest.mark.parametrize("data", [LINE, [LINE], {"lines": [LINE], "about": "mine"}])
def test_a_file_is_a_line_or_a_list_of_them(tmp_path, data):
    (ink,) = read(tmp_path, data).lines
    assert (ink.text, ink.writer, ink.split) == ("Call me", "anna", "train")
    assert [s.tolist() for s in ink.strokes] == [[[10, 20], [11.5, 22]], [[15, 20]]]


def test_writers_and_splits_have_defaults(tmp_path):
    plain = {"text": "a", "strokes": [[[1, 2]]]}
    one, two = read(tmp_path, [plain, plain | {"split": "test", "writer": "b"}]).lines
    assert (one.writer, one.split, two.writer, two.split) == ("mine", "train", "b", "test")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("{", "file: got not JSON"),
        ("[" * 100_000, "file: got not JSON"),
        ("3", "lines: got int"),
        ({"lines": {}}, "lines: got dict"),
        ([3], "line: got int, expected an object"),
        ([{"text": "a"}], "strokes: got NoneType, expected a list"),
        ([LINE | {"strokes": [[1, 2]]}], "strokes: got a point that is none"),
        ([LINE | {"strokes": [3]}], "strokes: got a point that is none"),
        ([LINE | {"strokes": [[["x", 2]]]}], "strokes: got a point that is none"),
        ('[{"text": "a", "strokes": [[[NaN, 2]]]}]', "strokes: got a point that is not finite"),
        ('[{"text": "a", "strokes": [[[1e999, 2]]]}]', "strokes: got a point that is not finite"),
        ([LINE | {"text": 3}], "text: got 3, expected a text"),
        ([LINE | {"writer": None}], "writer: got None"),
    ],
)
def test_what_is_no_line_is_counted(tmp_path, data, reason):
    found = read(tmp_path, data)
    assert not found.lines and sum(map(len, found.left_out.values())) == 1
    assert next(iter(found.left_out)).startswith(reason)


def test_what_is_no_file_is_counted_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to(tmp_path / "nowhere")
    found = read(tmp_path, [LINE])
    assert len(found.lines) == 1
    assert found.left_out == {"file: got something else, expected a file": ["a.json", "b.json"]}


def test_good_lines_of_a_file_are_kept(tmp_path):
    found = read(tmp_path, [LINE, 3, LINE])
    assert [ink.key for ink in found.lines] == ["mine.json, line 0", "mine.json, line 2"]
    assert found.left_out == {"line: got int, expected an object": ["mine.json, line 1"]}


def test_what_cannot_be_used_is_counted_too():
    line = [np.array([(0, 0), (3, 1), (5, 5), (6, 1), (9, 9)])]
    good = Ink(line, " Call\n me ", "anna", "good")
    found = Collection([
        good, good._replace(text=" ", key="empty"), good._replace(split="test", key="other"),
        good._replace(strokes=[np.ones((1, 2))], key="dot"),
    ])  # fmt: skip
    lines = found.rows(PRESETS["paper"])
    assert {split: [line.text for line in some] for split, some in lines.items()} == {
        "train": ["Call me"], "test": ["Call me"],
    }  # fmt: skip
    assert sorted(found.left_out.values()) == [["dot"], ["empty"]]
    assert "text: got nothing, expected a transcript (1): empty" in str(found)
    with pytest.raises(InvalidValue, match="lines: got none to train on; 1 lines read, 1 left out"):
        Collection([good._replace(text="")]).rows(PRESETS["paper"])


def test_reports_are_short():
    found = Collection()
    for k in range(9):
        found.leave_out(f"file {k}", "damaged")
    assert str(found).endswith("damaged (9): file 0, file 1, file 2, file 3, file 4 and 4 more")
