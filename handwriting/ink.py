"""Recorded lines of handwriting, as every reader gives them."""

import contextlib
import logging
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.strokes import Line
from handwriting.preprocessing import Preprocessing, Stroke
from options.choices import did_you_mean_path, require
from options.errors import InvalidValue, UserError, Words

logger = logging.getLogger(__name__)
NAMES_SHOWN = 5
LARGEST = 2**28  # bytes of one file


class Ink(NamedTuple):
    """One line.

    strokes: points (x, y) in the units of the device, y down.
    key: what reports call the line, its file for one.
    split: the part of the data set that it belongs to.
    """

    strokes: Sequence[Stroke]
    text: str
    writer: str
    key: str
    split: str = "train"


@dataclass
class LeftOut:
    """By reason the names of what was left out; derive from it to say what was read."""

    left_out: dict[str, list[str]] = field(default_factory=dict, kw_only=True)

    def leave_out(self, name: str, reason: str) -> None:
        """Count `name` as left out."""
        self.left_out.setdefault(reason, []).append(name)

    @contextlib.contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Counts `name` as left out where a UserError is raised inside."""
        try:
            yield
        except UserError as error:
            self.leave_out(name, str(error))

    def report(self, read: int) -> str:
        """How many lines were read, and what was left out, in lines of text."""
        count = sum(map(len, self.left_out.values()))
        parts = [f"{read} lines read, {count} left out"]
        for reason, names in sorted(self.left_out.items()):
            shown = ", ".join(names[:NAMES_SHOWN])
            more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
            parts.append(f"  {reason} ({len(names)}): {shown}{more}")
        return "\n".join(parts)


@dataclass
class Collection(LeftOut):
    """Lines that were read, and by reason the names of what was left out."""

    lines: list[Ink] = field(default_factory=list)

    def __str__(self) -> str:
        return self.report(len(self.lines))

    def rows(self, preprocessing: Preprocessing) -> dict[str, list[Line]]:
        """The preprocessed lines of every split; what cannot be used is left out and counted.

        InvalidValue, with the report, where nothing is left of the training split.
        """
        found: dict[str, list[Line]] = {}
        for ink in self.lines:
            with self.trying(ink.key):
                text = " ".join(ink.text.split())
                require(text, "text", Words("nothing"), "a transcript")
                line = Line(preprocessing(ink.strokes), text, ink.writer)
                found.setdefault(ink.split, []).append(line)
        require("train" in found, "lines", Words(f"none to train on; {self}"), "at least one")
        return found


def files_below(path: str | Path, *ends: str) -> list[Path]:
    """The file, or those in the folder whose names end so, in a fixed order.

    InvalidValue where there is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return [path]
    found = [
        Path(at, name)
        for at, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(ends) and not name.startswith(".")
    ]
    files = ", ".join(f"*{end}" for end in ends)
    expected = f"a file, or a folder with files {files}{did_you_mean_path(path)}"
    require(found, "path", str(path), expected)
    return sorted(found)


def content(path: Path) -> bytes:
    """What a file holds; InvalidValue where it cannot be read, or is no line of handwriting."""
    try:
        require(path.is_file(), "file", Words("something else"), "a file")
        require(path.stat().st_size <= LARGEST, "file", Words("too large"), f"{LARGEST} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InvalidValue("file", Words(error.strerror or "unreadable")) from None


def xml_root(path: Path) -> ElementTree.Element:
    """The root of an XML file; InvalidValue where it is none, or defines entities.

    Entities may unfold to any size, and no format of handwriting has them.
    """
    data = content(path)
    require(b"<!ENTITY" not in data, "file", Words("XML with entities"), "XML without")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise InvalidValue("file", Words("not XML, or not all of it"), "XML") from None


def stroke(points: Any) -> Stroke:
    """Points (x, y) as an array; InvalidValue where one has not two finite numbers first."""
    try:
        array = np.array([[float(x), float(y)] for x, y, *_ in points]).reshape(-1, 2)
    except (TypeError, ValueError):
        raise InvalidValue("strokes", Words("a point that is none"), "two numbers") from None
    require(np.isfinite(array).all(), "strokes", Words("a point that is not finite"), "numbers")
    return array
