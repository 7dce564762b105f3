"""Rules that many options share: a choice by name from a table, and the range of a number."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from options.errors import InvalidValue

T = TypeVar("T")


def choose(table: Mapping[str, T], name: str, field: str) -> T:
    """The entry of the table; InvalidValue that names the field, all names and the nearest."""
    if name not in table:
        raise InvalidValue(field, name, f"one of {sorted(table)}{did_you_mean(name, table)}")
    return table[name]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """ "; did you mean 'x'?" for the nearest of the names; empty where none is near."""
    near = difflib.get_close_matches(str(name), list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def named(table: Mapping[str, type[T]], value: "T | str", field: str) -> T:
    """`value`, or where it is a name, the entry of the table with that entry's defaults."""
    return choose(table, value, field)() if isinstance(value, str) else value


def require(holds: object, field: str, got: object, expected: str) -> None:
    """InvalidValue unless `holds` is true."""
    if not holds:
        raise InvalidValue(field, got, expected)


def require_positive(owner: Any, *fields: str) -> None:
    """InvalidValue unless each of these fields of `owner` is over 0; nan is not."""
    for field in fields:
        value = getattr(owner, field)
        require(value > 0, field, value, "a positive number")


def require_non_negative(owner: Any, *fields: str) -> None:
    """InvalidValue unless each of these fields of `owner` is 0 or more; nan is not."""
    for field in fields:
        value = getattr(owner, field)
        require(value >= 0, field, value, "0 or more")


def require_at_least_one(owner: Any, *fields: str) -> None:
    """InvalidValue unless each of these fields of `owner` is 1 or more; nan is not."""
    for field in fields:
        value = getattr(owner, field)
        require(value >= 1, field, value, "at least 1")


def require_fraction(owner: Any, *fields: str) -> None:
    """InvalidValue unless each of these fields of `owner` is in [0, 1)."""
    for field in fields:
        value = getattr(owner, field)
        require(0 <= value < 1, field, value, "a number in [0, 1)")
