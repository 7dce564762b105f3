"""Rules that many options share: a choice by name from a table, and the range of a number."""

import difflib
import itertools
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from options.errors import InvalidValue

T = TypeVar("T")
# Upper limits of counts: in general that of 32 bits; of steps of a chain or grid, which are arrays
# of float32; of samples, which are kept in memory.
MOST_COUNT, MOST_STEPS, MOST_SAMPLES = 2**31 - 1, 10**6, 2**24
MOST_NAMES = 10_000  # of a folder that are looked through


def choose(table: Mapping[str, T], name: str, field: str) -> T:
    """The entry of the table; InvalidValue that names the field, all names and the nearest."""
    if name not in tuple(table):  # what a file has in place of a name may have no hash
        raise InvalidValue(field, name, f"one of {sorted(table)}{did_you_mean(name, table)}")
    return table[name]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """ "; did you mean 'x'?" for the nearest of the names; empty where none is near."""
    near = difflib.get_close_matches(str(name), list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def did_you_mean_path(path: str | Path) -> str:
    """The same for a path that is not there: the one whose parts are nearest, of those that are."""
    path = Path(os.path.expanduser(path))
    found = Path(path.anchor)
    for part in path.relative_to(found).parts:
        if not (found / part).exists():
            near = difflib.get_close_matches(part, _names_in(found), n=3)
            alike = [name for name in near if Path(name).suffix == path.suffix]
            if not near:
                return ""
            part = (alike or near)[0]
        found /= part
    return f"; did you mean {str(found)!r}?" if found != path else ""


def _names_in(folder: Path) -> list[str]:
    """What lies in a folder, less what is hidden; nothing where it is none, or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = (entry.name for entry in entries if not entry.name.startswith("."))
            return list(itertools.islice(names, MOST_NAMES))
    except OSError:
        return []


def listed(names: Sequence[str], most: int = 20) -> str:
    """The first of the names with commas between them, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def numbered(names: Sequence[str]) -> str:
    """Names with their numbers, "0 cat, 1 dog"; of a name that is its number only that."""
    return listed([name if name == str(i) else f"{i} {name}" for i, name in enumerate(names)])


def require(holds: object, field: str, got: object, expected: str) -> None:
    """InvalidValue unless `holds` is true."""
    if not holds:
        raise InvalidValue(field, got, expected)


def require_positive(owner: Any, *fields: str) -> None:
    """InvalidValue unless each of these fields of `owner` is over 0; nan is not."""
    for field in fields:
        value = getattr(owner, field)
        require(value > 0, field, value, "a positive number")


def whole_number(field: str, value: Any, least: int, most: int = MOST_COUNT) -> int:
    """The value as an int; InvalidValue unless it is a whole number of this range."""
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidValue(field, value, "a whole number") from None
    require_count(field, number, least, most)
    return number


def require_count(field: str, value: float, least: int, most: int = MOST_COUNT) -> None:
    """InvalidValue unless `value` is `least` or more and, if it is an integer, at most `most`."""
    require(value >= least, field, value, f"at least {least}")
    require(type(value) is not int or value <= most, field, value, f"{least} to {most:,}")


def require_non_negative(owner: Any, *fields: str, most: int = MOST_COUNT) -> None:
    """InvalidValue unless each of these fields of `owner` is 0 or more, and if it is an integer, at
    most `most`; nan is not."""
    for field in fields:
        value = getattr(owner, field)
        require(value >= 0, field, value, "0 or more")
        require_count(field, value, 0, most)


def require_at_least_one(owner: Any, *fields: str, most: int = MOST_COUNT) -> None:
    """InvalidValue unless each of these fields of `owner` is 1 or more, and if it is an integer, at
    most `most`; nan is not."""
    for field in fields:
        require_count(field, getattr(owner, field), 1, most)


def require_fraction(owner: Any, *fields: str) -> None:
    """InvalidValue unless each of these fields of `owner` is in [0, 1)."""
    for field in fields:
        value = getattr(owner, field)
        require(0 <= value < 1, field, value, "a number in [0, 1)")
