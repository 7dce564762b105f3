"""The archives here are the packages in small: the same members, fonts of matplotlib."""

import io
import json
import sys
import tarfile
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from data.text_lines import TextLines
from tools import build_lines, stroke_texts

FONTS = {"plain": "DejaVuSans.ttf", "serif": "DejaVuSerif.ttf", "mono": "DejaVuSansMono.ttf"}
WORDS = (
    "the Whale -- swam before him; and it was his own, in 1851? Yes! A small house by the sea had "
    "many boats for the men who went out at dawn to see it (again) and again."
).split()


def pack(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            data = data.encode() if hasattr(data, "encode") else data
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def documents(name):
    rng = np.random.default_rng(len(name))
    return json.dumps({"title": name, "text": " ".join(rng.choice(WORDS, 200))})


@pytest.fixture
def archives(tmp_path, monkeypatch):
    monkeypatch.setattr(build_lines, "FONTS", tuple(FONTS))
    monkeypatch.setattr(build_lines, "NEW", ("mono",))
    folder = tmp_path / "archives"
    folder.mkdir()
    shipped = Path(matplotlib.get_data_path()) / "fonts/ttf"
    for name, file in FONTS.items():
        font = {f"package/files/{name}-latin-400-normal.woff2": (shipped / file).read_bytes()}
        pack(folder / f"fontsource-{name}-5.3.0.tgz", font)
    chapters = {f"package/data/chapter_{k}.json": documents(f"c{k}") for k in range(40)}
    pack(folder / stroke_texts.NOVEL, chapters)
    pack(folder / stroke_texts.SPEECHES, {"package/data/1790.json": documents("s")})
    names = {f"names-0.3.0/names/dist.{k}": "ANN 1\nBOB 2\n" for k in
             ("male.first", "female.first", "all.last")}  # fmt: skip
    pack(folder / stroke_texts.NAMES, names)
    return folder


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["build_lines", *map(str, arguments)])
    build_lines.main()


def test_the_program_writes_all_splits(archives, tmp_path, monkeypatch, capsys):
    options = ("--archives", archives, "--lines", 24, "--tested", 4)
    run(monkeypatch, *options, "--out", tmp_path / "a.npz", "--sheet")
    said = capsys.readouterr().out
    assert "train: 24 images by 4 writers" in said and "new_writers: 4 images by 2 writers" in said
    run(monkeypatch, *options, "--out", tmp_path / "b.npz")
    lines = TextLines(str(tmp_path / "a.npz"), replacement=" ")
    assert lines.splits() == ["train", "new_writers", "test"]
    read = {split: lines.read(split) for split in lines.splits()}
    assert read["train"].name == "images of lines derived from fonts, train"
    by = {split: {s.class_names[k] for k in s.writers} for split, s in read.items()}
    assert by["train"] == by["test"] == {"plain/1", "plain/2", "serif/1", "serif/2"}
    assert by["new_writers"] == {"mono/1", "mono/2"}
    texts = {split: set(source.texts) for split, source in read.items()}
    assert not texts["train"] & (texts["test"] | texts["new_writers"])
    assert not texts["test"] & texts["new_writers"]
    assert 4 < sum(" " not in text for text in read["train"].texts) < 22
    again = TextLines(str(tmp_path / "b.npz"), replacement=" ").read("test")
    assert again.checksum() == read["test"].checksum()
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_packages_are_named(monkeypatch, capsys):
    run(monkeypatch, "--packages")
    named = capsys.readouterr().out.split()
    fonts = [name for name in named if name.startswith("@fontsource/")]
    assert len(fonts) == len(set(fonts)) == len(build_lines.FONTS) >= 40
    assert len(named) == len(fonts) + 2
    assert not set(build_lines.LEFT_OUT) & set(build_lines.FONTS)
    assert set(build_lines.NEW) < set(build_lines.FONTS)


@pytest.mark.parametrize(
    ("missing", "options", "message"),
    [
        ("", ("--lines", 0), "lines: got 0, expected at least 1"),
        ("", ("--seed", -1), "seed: got -1"),
        ("fontsource-mono-5.3.0.tgz", (), "fontsource-mono-5.3.0.tgz is not a whole package"),
        (stroke_texts.NOVEL, (), "is not a whole package"),
    ],
)
def test_bad_input_ends_in_one_line(archives, monkeypatch, capsys, missing, options, message):
    if missing:
        (archives / missing).unlink()
    with pytest.raises(SystemExit):
        run(monkeypatch, "--archives", archives, "--out", archives / "a.npz", *options)
    said = capsys.readouterr().err
    assert message in said.strip().splitlines()[-1] and not (archives / "a.npz").exists()


def test_a_font_that_lacks_a_character_is_named(archives, monkeypatch, capsys):
    monkeypatch.setattr(build_lines.OutlineFont, "lacks", lambda font: "%" * (font.name == "mono"))
    with pytest.raises(SystemExit):
        run(monkeypatch, "--archives", archives, "--out", archives / "a.npz")
    assert "mono: got a font without '%'" in capsys.readouterr().err
