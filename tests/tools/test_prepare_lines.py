import sys

import numpy as np
import pytest
from PIL import Image

from data.text_lines import TextLines
from tools import prepare_lines


def put(path, width=40, height=32):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width), 200, np.uint8)).save(path)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["prepare_lines", *map(str, arguments)])
    prepare_lines.main()


@pytest.mark.parametrize(("kind", "text"), [("iam", "A MOVE"), ("iam_words", "MOVE")])
def test_iam_becomes_a_data_set(tmp_path, monkeypatch, capsys, kind, text):
    (tmp_path / "lines.txt").write_text("a01-000u-00 ok 154 19 0 0 40 32 A|MOVE\n")
    (tmp_path / "words.txt").write_text(
        "a01-000u-00-01 ok 154 0 0 40 32 AT MOVE\na01-000u-00-02 err 154 0 0 40 32 NN to\n"
    )
    (tmp_path / "forms.txt").write_text("a01-000u 007 2 prt 7 5 52 36\n")
    put(tmp_path / "lines/a01/a01-000u/a01-000u-00.png")
    put(tmp_path / "words/a01/a01-000u/a01-000u-00-01.png")
    run(monkeypatch, kind, tmp_path, "--out", tmp_path / "out.npz")
    said = capsys.readouterr().out
    assert "1 lines read" in said and "train: 1 images by 1 writers, widths 80 to 80" in said
    assert ("badly segmented (1): a01-000u-00-02" in said) == (kind == "iam_words")
    line = TextLines(str(tmp_path / "out.npz")).read().line(0)
    assert line[1:] == (text, "007") and (line.image == 200).all() and line.image.shape == (64, 80)


def test_a_folder_with_captions_becomes_a_data_set(tmp_path, monkeypatch, capsys):
    for name in ("a.png", "ann/1.png", "ann/2.png"):
        put(tmp_path / "mine" / name, width=20)
    put(tmp_path / "mine/ann/long.png", width=3000, height=2)
    (tmp_path / "mine/captions.txt").write_text(
        "a.png\tone\nann/1.png\ttwo\nann/2.png\tthree\nann/long.png\tno line\n"
    )
    run(monkeypatch, "captions", tmp_path / "mine", "--out", tmp_path / "o.npz", "--writer", "bob")
    said = capsys.readouterr().out
    assert "3 lines read, 1 left out" in said and "times as wide as high (1): ann/long.png" in said
    source = TextLines(str(tmp_path / "o.npz")).read()
    assert source.texts == ["one", "two", "three"] and source.class_names == ("ann", "bob")
    assert source.writers.tolist() == [1, 0, 0] and source.unsplit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("iamm", ".", "--out", "a.npz"), "kind: got 'iamm'"),
     (("iam", ".", "--out", "a.txt"), "out: got 'a.txt'"),
     (("iam", "/nowhere", "--out", "a.npz"), "path: got '/nowhere'")],
)  # fmt: skip
def test_bad_input_ends_in_one_line(monkeypatch, capsys, arguments, message):
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    assert message in capsys.readouterr().err
