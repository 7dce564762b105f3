"""`.npz` files from anywhere: what is in them is known before any of it is read.

A file of some megabytes may unfold to gigabytes of zeros. Its headers say so: whoever reads weights
compares `stand_ins` with what they should be, in name, shape and type, and then reads them.
"""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

# What numpy and zipfile raise of files that are damaged, or none: RuntimeError of a bit that says
# "encrypted" or asks for another version of the format, SyntaxError and TokenError of a header.
UNREADABLE = (
    OSError, ValueError, TypeError, EOFError, KeyError, RuntimeError, SyntaxError, OverflowError,
    struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}


def stand_ins(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of the file by name, in its shape and type, but of zeros that take no memory.

    Raises one of UNREADABLE.
    """
    with zipfile.ZipFile(path) as file:
        found = {}
        for member in file.infolist():
            with file.open(member) as content:
                shape, dtype = _header(content)
            if np.prod(shape, dtype=object) * dtype.itemsize > member.file_size:
                raise ValueError(f"{member.filename} has less than the {dtype} {shape} it says")
            zero = np.zeros((), dtype)
            found[member.filename.removesuffix(".npy")] = np.broadcast_to(zero, shape)
    return found


def require_numbers(arrays: Mapping[str, np.ndarray]) -> None:
    """ValueError for the first array that is not of real numbers: text can be of any size."""
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{name} is of {array.dtype}, not of numbers")


def _header(content: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(content)
    if version not in HEADERS:
        raise ValueError(f"arrays of version {version}")
    shape, _, dtype = HEADERS[version](content)
    return shape, dtype


def read(path: str | Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of the file, all or those of these names. Raises one of UNREADABLE."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in (file.files if names is None else names)}
