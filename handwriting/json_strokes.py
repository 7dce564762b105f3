"""Strokes in JSON.

A file holds a list of lines, or an object with that list under "lines", or one line:

    {"text": "Call me", "writer": "anna", "split": "test",
     "strokes": [[[10, 20], [11, 22]], [[15, 20], [15, 21]]]}

A stroke is a list of points [x, y], x to the right and y down, in any unit; what follows in a point
(time, pressure) is not read. "writer" and "split" may be left out: the file's name and "train" are
taken.
"""

import json
from pathlib import Path
from typing import Any

from handwriting.ink import Collection, Ink, content, files_below, stroke
from options.choices import require
from options.errors import InvalidValue, Words


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
    if isinstance(data, dict):
        data = data.get("lines", [data])
    require(isinstance(data, list), "lines", Words(type(data).__name__), "a list of lines")
    return data


def _ink(line: Any, file: Path, number: int) -> Ink:
    require(isinstance(line, dict), "line", Words(type(line).__name__), "an object")
    strokes = line.get("strokes")
    require(isinstance(strokes, list), "strokes", Words(type(strokes).__name__), "a list")
    said = {"text": "", "writer": file.stem, "split": "train"}
    said |= {name: line[name] for name in said if name in line}
    for name, value in said.items():
        require(isinstance(value, str), name, value, "a text")
    points = [stroke(each) for each in strokes]
    return Ink(points, said["text"], said["writer"], f"{file.name}, line {number}", said["split"])
