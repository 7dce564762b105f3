"""IAM-OnDB, the IAM On-Line Handwriting Database (Liwicki and Bunke 2005), from its files.

The archives, unpacked anywhere below one folder, in any of the ways in which they are found:

    lineStrokes-all   .../a01/a01-000/a01-000u-01.xml   strokes of a line, numbered from 00 or 01
    ascii-all         .../a01/a01-000/a01-000u.txt      the transcript of a form, after "CSR:"
    original-xml-all  .../a01/a01-000/strokesu.xml      the form's writer; its transcript too
    task1             trainset.txt, testset_v.txt, testset_t.txt, testset_f.txt: forms, one a line
    forms.txt         form and writer, the first two fields of a line

Only the first is needed, with a transcript from either of the next two. Files are known by their
names, so that folders between (`lineStrokes-all/lineStrokes/`, `original/`) may be there or not. A
form whose writer nothing says is a writer of its own.
"""

import html
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from handwriting.ink import Collection, Ink, content, files_below, stroke, xml_root
from options.choices import choose, require
from options.errors import UserError, Words

LINE = re.compile(r"([a-z]\d\d-\d{3}[a-z]?)-(\d+)\.xml")
FORM = re.compile(r"([a-z]\d\d-\d{3}[a-z]?)\.txt")
ORIGINAL = re.compile(r"strokes([a-z]?)\.xml")
FORM_ID = re.compile(r"[a-z]\d\d-\d{3}[a-z]?")
NEWLINE = "%" * 11  # stands for one in transcripts

# Each part of the data set, and the files of task1 whose forms are in it. The published model of
# Luhman and Luhman 2020 is trained on all but the first validation set.
SPLITS: dict[str, dict[str, tuple[str, ...]]] = {
    "task1": {
        "train": ("trainset.txt",),
        "validation": ("testset_v.txt",),
        "validation_2": ("testset_t.txt",),
        "test": ("testset_f.txt",),
    },
    "reference": {
        "train": ("trainset.txt", "testset_f.txt", "testset_t.txt"),
        "test": ("testset_v.txt",),
    },
}


def read_iam(root: str | Path, splits: str = "task1") -> Collection:
    """All lines below a folder; damaged files and forms that do not fit together are counted.

    splits: of SPLITS; without any of their files every line belongs to "train".
    InvalidValue where there is no line at all.
    """
    table = choose(SPLITS, splits, "splits")
    files = files_below(root, ".xml", ".txt")
    strokes: dict[str, dict[int, Path]] = defaultdict(dict)
    by_name: dict[str, Path] = {}
    for file in files:
        by_name.setdefault(file.name, file)
        if match := LINE.fullmatch(file.name):
            strokes[match[1]].setdefault(int(match[2]), file)
    expected = "the files of lineStrokes-all, such as a01-000u-01.xml"
    require(strokes, "path", str(root), f"a folder with {expected}")

    found = Collection()
    writers, texts = _originals(files, found)
    writers = _forms(by_name) | writers
    parts = _parts(table, by_name, found)
    for form, numbered in sorted(strokes.items()):
        with found.trying(form):
            lines = _transcript(form, by_name, texts)
            got = Words(f"{len(numbered)} files of strokes and {len(lines)} lines of text")
            require(len(numbered) == len(lines), "lines", got, "as many of each")
            if parts and form not in parts:
                found.leave_out(form, "form of no split")
                continue
            split, writer = parts.get(form, "train"), writers.get(form, f"of {form}")
            for text, (_, file) in zip(lines, sorted(numbered.items()), strict=True):
                with found.trying(file.name):
                    found.lines.append(Ink(_strokes(file), text, writer, file.name, split))
    return found


def _strokes(file: Path) -> list[np.ndarray]:
    """The strokes of one line."""
    root = xml_root(file)
    strokes = [
        stroke((p.get("x", ""), p.get("y", "")) for p in element.iter("Point"))
        for element in root.iter("Stroke")
    ]
    strokes = [points for points in strokes if len(points)]
    require(strokes, "strokes", Words("no point"), "<Stroke> with <Point>")
    return strokes


def _transcript(form: str, by_name: Mapping[str, Path], texts: Mapping[str, str]) -> list[str]:
    """The lines of text of a form, from its transcript or its original."""
    if (file := by_name.get(f"{form}.txt")) is not None:
        whole = content(file).decode("latin-1").replace(NEWLINE, "\n")
        _, marked, text = whole.partition("CSR:")
        require(
            marked, "transcript", Words("no CSR:"), f"CSR: and the lines of text in {file.name}"
        )
    else:
        require(form in texts, "transcript", Words("nothing"), f"{form}.txt")
        text = texts[form]
    return [line.strip() for line in text.splitlines() if line.strip()]


def _originals(files: list[Path], found: Collection) -> tuple[dict[str, str], dict[str, str]]:
    """The writer and the text of each form that has a file of original-xml."""
    writers, texts = {}, {}
    for file in files:
        match = ORIGINAL.fullmatch(file.name)
        if match is None:
            continue
        form = file.parent.name + match[1]
        try:
            root = xml_root(file)
        except UserError as error:
            found.leave_out(f"{form}/{file.name}", str(error))
            continue
        about = root.find("General/Form")
        if about is not None and about.get("writerID"):
            writers[form] = about.get("writerID", "")
        lines = [line.get("text", "") for line in root.iter("TextLine")]
        text = "\n".join(lines) or root.findtext("Transcription/Text", "")
        if text.strip():
            texts[form] = html.unescape(html.unescape(text)).replace(NEWLINE, "\n")
    return writers, texts


def _forms(by_name: Mapping[str, Path]) -> dict[str, str]:
    """The writer of each form of forms.txt; none without that file."""
    if "forms.txt" not in by_name:
        return {}
    lines = content(by_name["forms.txt"]).decode("latin-1").splitlines()
    fields = [line.split() for line in lines if not line.startswith("#")]
    return {form: writer for form, writer, *_ in (f for f in fields if len(f) > 1)}


def _parts(
    table: Mapping[str, tuple[str, ...]], by_name: Mapping[str, Path], found: Collection
) -> dict[str, str]:
    """The split of each form that the files of task1 list; files that are missing are counted."""
    parts: dict[str, str] = {}
    names = [name for files in table.values() for name in files]
    if not any(name in by_name for name in names):
        return parts
    for split, files in table.items():
        for name in files:
            if name not in by_name:
                found.leave_out(name, "missing file of a split")
                continue
            text = content(by_name[name]).decode("latin-1")
            parts |= dict.fromkeys(FORM_ID.findall(text), split)
    return parts
