"""What the classes of published sets share: files of a folder or a zip, and what is in them.

`listing(source)` finds the images of a set, with the split and class that the publication gives
them, and names what is missing. Nothing is downloaded.
"""

import io
import re
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from data.folder_scan import paths
from data.image_file import decode
from options.choices import did_you_mean_path, listed, require
from options.errors import InvalidValue, Words

Pixels = UInt8[np.ndarray, "height width channels"]
Cropped = UInt8[np.ndarray, "rows columns channels"]
Read = Callable[[], bytes]
SHOWN = 6  # names of what is there, where it is not what was expected


class Item(NamedTuple):
    """One image: its split and class, "" for none, its name without an ending, and its bytes."""

    split: str
    label: str
    name: str
    read: Read


class Listing(NamedTuple):
    """The images of a set, how many there are, and names of those that should be there too."""

    items: Iterable[Item]
    total: int
    missing: Sequence[str] = ()


class Files(NamedTuple):
    """The files below a folder or in a zip: their relative paths, and what reads one."""

    names: list[str]
    read: Callable[[str], bytes]

    def matching(self, pattern: str) -> list[tuple[str, re.Match]]:
        """Those whose path ends in a match of the pattern, from a "/" on."""
        found = ((name, re.search(rf"(?:^|/){pattern}$", name)) for name in self.names)
        return [(name, match) for name, match in found if match]


def files_of(path: Path) -> Files:
    """What lies in a folder or a zip; InvalidValue for anything else."""
    if path.is_dir():
        names = sorted(file.relative_to(path).as_posix() for file in paths(path))
        return Files(names, lambda name: (path / name).read_bytes())
    is_zip = path.is_file() and zipfile.is_zipfile(path)
    require(is_zip, "source", str(path), f"a folder or a whole zip{did_you_mean_path(path)}")
    archive = zipfile.ZipFile(path)
    names = sorted(name for name in archive.namelist() if not name.endswith("/"))
    return Files(names, archive.read)


def wrong(source: Path, names: Sequence[str], expected: str) -> InvalidValue:
    """For a folder of something else."""
    there = listed(list(names), SHOWN) or "nothing"
    return InvalidValue("source", Words(f"{source}, which has {there}"), expected)


@runtime_checkable
class Published(Protocol):
    """A published set; a frozen dataclass. Derive from it.

    Attributes:
      size: of the squares that images become; 0 leaves them as they are.
    """

    size: int

    @abstractmethod
    def listing(self, source: Path) -> Listing:
        """Its images; InvalidValue of "source" where these are none."""
        ...

    def pixels(self, content: bytes) -> Pixels:
        """What a file holds, in colours; RefusedImage where it is damaged."""
        return decode(io.BytesIO(content)).pixels

    def cropped(self, image: Pixels) -> Cropped:
        """The part of an image that is published, before it is resized."""
        return image
