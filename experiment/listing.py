"""Every field of a configuration in words: what it is set to, what it means, what it can be.

    sampling.solver.eta = 0.5 (default 0.0)
        in [0, 1], how much of the noise is drawn anew.

All of it is read off the classes: defaults are theirs, meanings are the "Attributes:" of their
docstrings, and of what is chosen by name every class of the table is there with its fields.
"""

import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from experiment import sections
from options.classes import choose_class, name_of
from options.fields import Table, choices, entries, fields, meanings, summary

WIDTH = 100
INDENT = 4 * " "


def listing(default: Any, section: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The lines of a complete section of a dataclass: its fields, and all that lies in them.

    default, path: as of `sections.complete`.
    """
    cls = default if inspect.isclass(default) else type(default)
    about = meanings(cls)
    for field in fields(default):
        own, value = sections.own_value(default, field), section[field.name]
        place = f"{path}.{field.name}" if path else field.name
        meaning = about.get(field.name, "")
        if table := choices(field):
            yield from _entry(place, value["name"], name_of(table, type(own)), meaning)
            chosen = choose_class(table, value["name"], place)
            yield from _choices("one", {**table, value["name"]: chosen})
            yield from listing(own if type(own) is chosen else chosen, value, place)
        elif table := entries(field):
            yield from _entry(place, ", ".join(value) or "none", "none", meaning)
            yield from _choices("any", table)
            for name in value:
                cls = sections.entry_of(table, name, value[name], place)
                yield from listing(cls, value[name], f"{place}.{name}")
        elif dataclasses.is_dataclass(own):
            yield from _wrapped(f"{place}: {meaning or summary(type(own))}")
            yield from listing(own, value, place)
        else:
            yield from _entry(place, _said(value), _said(own), meaning)


def _entry(place: str, value: str, default: str, meaning: str) -> Iterator[str]:
    """A field: its value, its default where that is another, and its meaning."""
    yield f"{place} = {value}" + (f" (default {default})" if value != default else "")
    yield from _wrapped(meaning, INDENT, INDENT)


def _choices(how_many: str, table: Table) -> Iterator[str]:
    """The classes of a table: what they are, and the fields that each brings."""
    yield f"{INDENT}{how_many} of"
    for name, cls in table.items():
        brought = ", ".join(f"{field.name} = {_default(cls, field)}" for field in fields(cls))
        said = f"{name}: {summary(cls)}" + (f" Fields: {brought}." if brought else "")
        yield from _wrapped(said, 2 * INDENT, 3 * INDENT)


def _default(cls: type, field: dataclasses.Field) -> str:
    """The default of a field of a choice, in short."""
    own = sections.own_value(cls, field)
    if table := choices(field):
        return name_of(table, type(own))
    return _said(own)


def _said(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "to be given"
    return "unset" if value is None else repr(value)


def _wrapped(text: str, first: str = "", others: str = INDENT) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )
