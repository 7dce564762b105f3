"""Strokes in InkML (W3C Recommendation, September 2011).

A file is one line, unless it has no transcript of its own and `traceGroup`s that have: then each of
these is one. A transcript is an `annotation` of the type "truth", "transcription", "text" or
"label", the writer one of the type "writer"; without it the name of the file's folder is taken.

    <ink xmlns="http://www.w3.org/2003/InkML">
      <annotation type="truth">Call me</annotation>
      <trace>10 20, 11 22, 13 25</trace>
      <trace>15 20, '1 '1</trace>
    </ink>

Channels are read in the order of the file's `traceFormat`, X and Y by default; Y points down unless
its orientation is "-ve". Values may be first and second differences ('v and "v, explicit ones !v)
and repeated (*); hexadecimal values, and ones that are not known (?), are not read.

`to_inkml` writes such a file of a drawing, in millimetres to four digits after the point.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from handwriting.drawing import Drawing, Look
from handwriting.ink import Collection, Ink, files_below, stroke, xml_root
from options.choices import require
from options.errors import InvalidValue, Words

TRANSCRIPTS = ("truth", "transcription", "text", "label")
VALUE = re.compile(r"([!'\"]?)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|\*)\s*")
Element = ElementTree.Element
NAMESPACE = "http://www.w3.org/2003/InkML"


def to_inkml(drawing: Drawing, look: Look) -> bytes:
    """The file of one line; `look` does not matter."""
    root = Element("ink", xmlns=NAMESPACE)
    for kind, text in (("truth", drawing.text), ("writer", drawing.writer)):
        if text:
            ElementTree.SubElement(root, "annotation", type=kind).text = text
    channels = ElementTree.SubElement(root, "traceFormat")
    for name in "XY":
        ElementTree.SubElement(channels, "channel", name=name, type="decimal", units="mm")
    for points in drawing.strokes:
        trace = ElementTree.SubElement(root, "trace")
        trace.text = ", ".join(f"{x:.4f} {y:.4f}" for x, y in points)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "utf-8", xml_declaration=True) + b"\n"


def read_inkml(path: str | Path) -> Collection:
    """The lines of a file, or of all `*.inkml` below a folder; damaged ones are counted.

    InvalidValue where there is no such file.
    """
    found = Collection()
    for file in files_below(path, ".inkml"):
        with found.trying(file.name):
            found.lines += _lines(file)
    return found


def _lines(file: Path) -> list[Ink]:
    root = xml_root(file)
    require(_name(root) == "ink", "file", Words(f"XML of <{_name(root)}>"), "InkML, <ink>")
    writer = _annotation(root, "writer") or file.parent.name
    groups = _named(root.iter(), "traceGroup")
    parts = [group for group in groups if _annotation(group, *TRANSCRIPTS)]
    if _annotation(root, *TRANSCRIPTS) or not parts:
        parts = [root]
    traces = {_identity(trace): trace for trace in _named(root.iter(), "trace")}
    channels = _channels(root)
    found = []
    for number, part in enumerate(parts):
        key = f"{file.name}, group {number}" if len(parts) > 1 else file.name
        strokes = [_points(trace.text or "", channels) for trace in _traces(part, traces)]
        require(strokes, "strokes", Words("no trace"), "at least one")
        text = _annotation(part, *TRANSCRIPTS)
        found.append(Ink(strokes, text, _annotation(part, "writer") or writer, key))
    return found


def _name(element: Element) -> str:
    """Without its namespace."""
    return element.tag.rpartition("}")[2]


def _named(elements: Iterable[Element], name: str) -> list[Element]:
    return [element for element in elements if _name(element) == name]


def _identity(element: Element) -> str:
    own = element.get("{http://www.w3.org/XML/1998/namespace}id") or element.get("id")
    return own or f" {id(element)}"  # which nothing refers to


def _annotation(element: Element, *types: str) -> str:
    """The text of the element's own annotation of one of these types; "" for none."""
    for child in _named(list(element), "annotation"):
        if child.get("type", "").lower() in types:
            return (child.text or "").strip()
    return ""


def _traces(part: Element, traces: dict[str, Element]) -> Iterator[Element]:
    """The traces in a part, and those that its views refer to."""
    for element in part.iter():
        if _name(element) == "trace":
            yield element
        reference = element.get("traceDataRef", "").lstrip("#")
        if _name(element) == "traceView" and reference:
            require(reference in traces, "traceDataRef", reference, "the id of a trace")
            yield traces[reference]


def _channels(root: Element) -> list[tuple[str, float]]:
    """The name of each channel, and 1 or -1 for the way that it points."""
    found = _named(root.iter(), "channel")
    channels = [
        (c.get("name", ""), -1.0 if c.get("orientation") == "-ve" else 1.0) for c in found
    ] or [("X", 1.0), ("Y", 1.0)]
    names = [name for name, _ in channels]
    got = Words(f"the channels {names}")
    require(names.count("X") == names.count("Y") == 1, "traceFormat", got, "one X and one Y")
    return channels


def _points(text: str, channels: list[tuple[str, float]]) -> np.ndarray:
    """The points (x, y) of a trace."""
    order = [[name for name, _ in channels].index(name) for name in "XY"]
    signs = [channels[k][1] for k in order]
    rows = _values(text, len(channels), max(order) + 1)
    return stroke(rows[:, order] * signs)


def _values(text: str, count: int, least: int) -> np.ndarray:
    """The values of every point, differences summed; those after `least` may be left out."""
    rows, ways, last = [], ["!"] * count, ["0"] * count
    value, speed = np.zeros(count), np.zeros(count)
    for point in filter(None, map(str.strip, text.split(","))):
        tokens, end = [], 0
        while match := VALUE.match(point, end):
            tokens.append(match.groups())
            end = match.end()
        if end < len(point) or not least <= len(tokens) <= count:
            expected = f"{least} to {count} plain numbers"
            raise InvalidValue("trace", Words(f"the point {point[:40]!r}"), expected)
        for k, (way, number) in enumerate(tokens):
            ways[k] = way or ways[k]
            last[k] = last[k] if number == "*" else number
            speed[k] = {
                "!": float(last[k]) - value[k],
                "'": float(last[k]),
                '"': speed[k] + float(last[k]),
            }[ways[k]]
            value[k] += speed[k]
        rows.append(value.copy())
    require(rows, "trace", Words("no point"), "at least one")
    return np.array(rows)
