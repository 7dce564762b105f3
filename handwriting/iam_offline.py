"""The IAM Handwriting Database (Marti and Bunke 2002), images of lines and words, from its files.

The archives, unpacked anywhere below one folder; files are known by their names:

    lines    lines/a01/a01-000u/a01-000u-00.png
    words    words/a01/a01-000u/a01-000u-00-00.png
    forms    a01-000u.png of formsA-D, formsE-H, formsI-Z: what lacks its own image is cut out
    ascii    lines.txt, words.txt, forms.txt; rows that begin with # are comments

        lines.txt   a01-000u-00 ok 154 19 408 746 1663 91 A|MOVE|to|stop|Mr.|Gaitskell|from
        words.txt   a01-000u-00-00 ok 154 408 768 27 51 AT A
        forms.txt   a01-000u 000 2 prt 7 5 52 36

A row has a name; whether it is segmented well ("ok") or perhaps not ("err"); the grey level that
parts ink from paper; of lines the number of components, which words may have too; the box x, y,
width, height in the form; of words the grammatical tag; the transcription, "|" between words. Of
forms the first two fields are read, the form and its writer.

Words marked "err" are left out and counted; lines so marked are kept, since that speaks of their
words. Splits are those of the task "large writer independent text line recognition": files of names
of lines, one a row, which words inherit.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.image_file import RefusedImage, decode
from data.text_lines import HEIGHT, TextLine
from handwriting.ink import LeftOut, content, files_below
from options.choices import choose, require
from options.errors import InvalidValue, Words

# The files of the task, and the split that each is.
PARTS = {
    "trainset.txt": "train",
    "validationset1.txt": "validation",
    "validationset2.txt": "validation_2",
    "testset.txt": "test",
}
LINE_ID = re.compile(r"\b[a-z]\d\d-\d{3}[a-z]?-\d\d\b")
STATES = {"ok": True, "err": False, "er": False}
WIDEST = 64  # times the height; wider is no line


class Row(NamedTuple):
    """One row of lines.txt or words.txt.

    box: left, top, width, height in the form; None where the row has none.
    """

    name: str
    well_segmented: bool
    box: tuple[int, int, int, int] | None
    text: str


class Kind(NamedTuple):
    """What is read: the list, how a row's name is spelled, whether rows have a tag before their
    transcription, and whether those marked "err" are left out."""

    list: str
    name: re.Pattern[str]
    has_tag: bool
    only_ok: bool


KINDS = {
    "lines": Kind("lines.txt", re.compile(r"[a-z]\d\d-\d{3}[a-z]?-\d\d"), False, False),
    "words": Kind("words.txt", re.compile(r"[a-z]\d\d-\d{3}[a-z]?-\d\d-\d\d"), True, True),
}


@dataclass
class PageLines(LeftOut):
    """Lines by split, and by reason the names of what was left out."""

    splits: dict[str, list[TextLine]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.report(sum(map(len, self.splits.values())))


def read_iam_offline(root: str | Path, kind: str = "lines") -> PageLines:
    """All lines or words below a folder, each resized to the height 64 in its own proportions.

    kind: of KINDS. Without any file of the task every one belongs to "train". InvalidValue where
    the list or forms.txt is missing, or no image can be read.
    """
    chosen = choose(KINDS, kind, "kind")
    by_name: dict[str, Path] = {}
    for file in files_below(root, ".png", ".txt"):
        by_name.setdefault(file.name, file)
    for name in (chosen.list, "forms.txt"):
        expected = f"a folder with {name} of the archive ascii"
        require(name in by_name, "path", Words(f"{root} without {name}"), expected)
    found = PageLines()
    writers = dict(_writers(by_name["forms.txt"]))
    parts = _parts(by_name, found)
    for text in _rows(by_name[chosen.list]):
        name = text.split(maxsplit=1)[0]
        with found.trying(name):
            row = parsed(text, chosen)
            line, form = "-".join(name.split("-")[:3]), "-".join(name.split("-")[:2])
            if chosen.only_ok and not row.well_segmented:
                found.leave_out(name, "marked as badly segmented")
            elif parts and line not in parts:
                found.leave_out(name, "line of no split")
            else:
                require(form in writers, "form", form, "a form of forms.txt")
                image = _image(row, form, by_name)
                made = TextLine(image, row.text, writers[form])
                found.splits.setdefault(parts.get(line, "train"), []).append(made)
    require(found.splits, "path", Words(f"no line that can be read; {found}"), "at least one")
    return found


def parsed(text: str, kind: Kind) -> Row:
    """A row of the list; InvalidValue for what is none."""
    name, *fields = text.split()
    require(kind.name.fullmatch(name), "name", name, f"a name as {kind.name.pattern}")
    require(fields and fields[0] in STATES, "segmentation", text, "ok or err")
    numbers = 0
    while numbers < len(fields) - 1 and re.fullmatch(r"-?\d+", fields[1 + numbers]):
        numbers += 1
    # Transcriptions may be numbers too; a tag is none.
    numbers = numbers if kind.has_tag else min(numbers, 6)
    fits = numbers in (5, 6) if kind.has_tag else numbers == 6
    expected = "grey level, components, x, y, width and height"
    require(fits, "numbers", text, expected)
    left, top, width, height = map(int, fields[numbers - 3 : numbers + 1])
    rest = fields[1 + numbers + kind.has_tag :]
    require(rest, "transcription", text, "a text at the end")
    box = (left, top, width, height) if min(left, top) >= 0 < min(width, height) else None
    spoken = " ".join(" ".join(rest).replace("|", " ").split())
    require(spoken, "transcription", text, "a text at the end")
    return Row(name, STATES[fields[0]], box, spoken)


def _rows(file: Path) -> Iterator[str]:
    """The rows of a list without its comments."""
    for line in content(file).decode("latin-1").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def _writers(file: Path) -> Iterator[tuple[str, str]]:
    """Each form and its writer; InvalidValue for a row without."""
    for line in _rows(file):
        form, *fields = line.split()
        require(fields, "forms.txt", line, "a form and its writer")
        yield form, fields[0]


def _parts(by_name: Mapping[str, Path], found: PageLines) -> dict[str, str]:
    """The split of each line that the files of the task list; missing files are counted."""
    parts: dict[str, str] = {}
    if not any(name in by_name for name in PARTS):
        return parts
    for name, split in PARTS.items():
        if name not in by_name:
            found.leave_out(name, "missing file of a split")
            continue
        listed = LINE_ID.findall(content(by_name[name]).decode("latin-1"))
        parts |= dict.fromkeys(listed, split)
    return parts


def _image(row: Row, form: str, by_name: Mapping[str, Path]) -> UInt8[np.ndarray, "64 width"]:
    """The image of a row, its own or cut out of its form."""
    own, page = by_name.get(f"{row.name}.png"), by_name.get(f"{form}.png")
    if own is not None:
        return at_height(_grey(own))
    require(page is not None, "image", Words("none"), f"{row.name}.png or {form}.png")
    assert page is not None
    require(row.box is not None, "box", Words("none"), f"{row.name}.png, or a box in {form}.png")
    left, top, width, height = row.box or (0, 0, 0, 0)
    pixels = _page(page)
    inside = top + height <= len(pixels) and left + width <= pixels.shape[1]
    require(inside, "box", row.box, f"inside of the {pixels.shape[1]} x {len(pixels)} of {form}")
    return at_height(pixels[top : top + height, left : left + width])


@lru_cache(maxsize=1)
def _page(file: Path) -> UInt8[np.ndarray, "h w"]:
    """A form, which the next row likely needs too."""
    return _grey(file)


def _grey(file: Path) -> UInt8[np.ndarray, "h w"]:
    """The grey levels of an image; InvalidValue for a damaged one."""
    try:
        return decode(file, channels=1).pixels[..., 0]  # type: ignore[return-value]
    except (RefusedImage, OSError) as error:
        raise InvalidValue("image", but=str(error)) from None


def at_height(image: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "64 width"]:
    """The image resized to the height of lines, antialiased; InvalidValue if it is far too wide."""
    height, width = image.shape
    size = (max(1, round(width * HEIGHT / height)), HEIGHT)
    got = Words(f"{width} x {height} pixels")
    require(size[0] <= WIDEST * HEIGHT, "image", got, f"at most {WIDEST} times as wide as high")
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
