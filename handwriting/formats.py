"""Files that a drawing is written to; the kind of a file is the ending of its name."""

from collections.abc import Callable
from pathlib import Path

from handwriting.drawing import Drawing, Look
from handwriting.inkml import to_inkml
from handwriting.json_strokes import to_json
from handwriting.raster import gif, png
from handwriting.svg import animated_svg, svg
from options.choices import require
from storage.files import atomic_write

USUAL = Look()
# What makes the bytes of a file. A name has the first of these endings that fits.
FORMATS: dict[str, Callable[[Drawing, Look], bytes]] = {
    "-animated.svg": animated_svg,
    ".svg": svg,
    ".png": png,
    ".gif": gif,
    ".inkml": to_inkml,
    ".json": to_json,
}


def format_of(path: str | Path) -> Callable[[Drawing, Look], bytes]:
    """What makes the bytes of a file of this name; InvalidValue that lists all endings."""
    found = [make for ending, make in FORMATS.items() if Path(path).name.lower().endswith(ending)]
    require(found, "path", str(path), f"a name that ends in one of {sorted(FORMATS)}")
    return found[0]


def keeps_spans(path: str | Path) -> bool:
    """Whether a file of this name holds which points write which character."""
    return format_of(path) is to_json


def write(path: str | Path, drawing: Drawing, look: Look = USUAL) -> None:
    """Write a drawing, whole or not at all; InvalidValue for an ending that is none of FORMATS."""
    content = format_of(path)(drawing, look)
    with atomic_write(path) as file:
        file.write(content)
