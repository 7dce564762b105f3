"""Strokes in JSON.

A file holds a list of lines, or an object with that list under "lines", or one line:

    {"text": "Call me", "writer": "anna", "split": "test",
     "strokes": [[[10, 20], [11, 22]], [[15, 20], [15, 21]]]}

A stroke is a list of points [x, y], x to the right and y down, in any unit; what follows in a point
(time, pressure) is not read. "writer" and "split" may be left out: the file's name and "train" are
taken.

`to_json` writes such a file of a drawing, one line in millimetres to four digits after the point;
where it is known which points write which character, with

    "spans": [{"char": "C", "start": 0, "end": 9}, ...]

of points that are counted over all strokes, `end` not among them. They are not read again.
"""

import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from handwriting.drawing import Drawing, Look
from handwriting.ink import Collection, Ink, content, files_below, stroke
from options.choices import require
from options.errors import InvalidValue, Words

T = TypeVar("T")


def to_json(drawing: Drawing, look: Look) -> bytes:
    """The file of one line; `look` does not matter."""
    line: dict[str, Any] = {"text": drawing.text}
    if drawing.writer:
        line["writer"] = drawing.writer
    line["strokes"] = [np.round(stroke, 4).tolist() for stroke in drawing.strokes]
    if drawing.spans:
        line["spans"] = [span._asdict() for span in drawing.spans]
    return f"{json.dumps(line, ensure_ascii=False, allow_nan=False)}\n".encode()


def read_json(path: str | Path) -> Collection:
    """The lines of a file, or of all `*.json` below a folder; damaged ones are counted.

    InvalidValue where there is no such file.
    """
    found = Collection()
    for file in files_below(path, ".json"):
        with found.trying(file.name):
            for number, line in enumerate(_lines(file)):
                with found.trying(f"{file.name}, line {number}"):
                    found.lines.append(_ink(line, file, number))
    return found


def _lines(file: Path) -> list[Any]:
    text = content(file)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidValue("file", Words("not JSON, or not all of it"), "JSON") from None
    if hasattr(data, "get"):
        data = data.get("lines", [data])
    return _of(list, data, "lines", "a list of lines")


def _of(kind: type[T], value: Any, name: str, expected: str) -> T:
    """The value; InvalidValue for one of another type."""
    require(type(value) is kind, name, Words(type(value).__name__), expected)
    return value


def _ink(line: Any, file: Path, number: int) -> Ink:
    line = _of(dict, line, "line", "an object")
    strokes = _of(list, line.get("strokes"), "strokes", "a list")
    said = {"text": "", "writer": file.stem, "split": "train"}
    said |= {name: line[name] for name in said if name in line}
    for name, value in said.items():
        require(type(value) is str, name, value, "a text")
    points = [stroke(each) for each in strokes]
    return Ink(points, said["text"], said["writer"], f"{file.name}, line {number}", said["split"])
