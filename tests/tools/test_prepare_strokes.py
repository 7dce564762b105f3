import json
import sys

import numpy as np
import pytest

from data.strokes import Strokes
from handwriting.preprocessing import PRESETS, level
from tools import prepare_strokes


def strokes(seed):
    rng = np.random.default_rng(seed)
    return [np.cumsum(rng.normal((1, 0), 1, (20, 2)), axis=0) + [20 * k, 0] for k in range(3)]


LINES = [
    {"text": f"line {k}", "writer": "ab"[k % 2], "split": "test" if k > 3 else "train",
     "strokes": [stroke.tolist() for stroke in strokes(k)]}
    for k in range(6)
]  # fmt: skip


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["prepare_strokes", *map(str, arguments)])
    prepare_strokes.main()


def test_recorded_lines_become_a_data_set(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.json").write_text(json.dumps([*LINES, {"text": "no strokes"}]))
    out = tmp_path / "mine.npz"
    run(monkeypatch, "json", tmp_path / "mine.json", "--out", out)
    said = capsys.readouterr().out
    assert "6 lines read, 1 left out" in said and "mine.json, line 6" in said
    assert "' 0123eiln'" in said and "train: 4 lines by 2 writers\n" in said
    assert "test: 2 lines by 2 writers; not in a training text: '45'" in said
    train = Strokes(str(out), replacement=" ").read()
    for k in range(4):
        rows = PRESETS["paper"](strokes(k))
        assert np.abs(np.cumsum(train.line(k).offsets - rows, axis=0)[:, :2]).max() < 1 / 256
        assert np.array_equal(train.line(k).offsets[:, 2], rows[:, 2])
    run(monkeypatch, "json", tmp_path, "--out", out, "--preset", "none", "--level")
    levelled = level(strokes(0))
    found = np.cumsum(Strokes(str(out), replacement=" ").read().line(0).offsets[:, :2], axis=0)
    expected = (np.concatenate(levelled) - levelled[0][0]) * [1, -1]
    assert np.abs(found - expected).max() < 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("yaml", "."), "kind: got 'yaml', expected one of ['iam', 'inkml', 'json']"),
        (("json", ".", "--preset", "papre"), "preset: got 'papre'"),
        (("json", "nowhere"), "path: got 'nowhere', expected a file, or a folder with files"),
        (("inkml", "mine.json"), "lines: got none to train on; 0 lines read, 1 left out"),
        (
            ("iam", "mine.json"),
            "path: got 'mine.json', expected a folder with the files of lineStr",
        ),
        (("json", ".", "--out", "mine.txt"), "out: got 'mine.txt', expected the name of an .npz"),
    ],
)
def test_bad_input_ends_in_one_error(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text("[]")
    out = () if "--out" in arguments else ("--out", tmp_path / "mine.npz")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments, *out)
    assert message in capsys.readouterr().err and ended.value.code == 2
    assert not (tmp_path / "mine.npz").exists()
