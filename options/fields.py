"""Fields of dataclasses as a configuration sees them.

solver: Solver = chosen(SOLVERS, DDIM())                one of a table
conditions: tuple[Condition, ...] = several(CONDITIONS)  any of a table
seed: int = hidden(0)                                    set elsewhere
"""

import copy
import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Table = Mapping[str, Any]
RESERVED = {"name", "parent"}  # `name` chooses; Flax gives every module both


def chosen(table: Table | Callable[[], Table], default: Any) -> Any:
    """A field whose value is made by one class of the table, or by a function that returns one."""
    return dataclasses.field(default=default, metadata={"choices": table})


def several(table: Table | Callable[[], Table], default: tuple[Any, ...] = ()) -> Any:
    """A field whose value is a tuple of what several classes of the table make."""
    return dataclasses.field(default=default, metadata={"several": table})


def hidden(default: Any) -> Any:
    """A field that is no part of a configuration."""
    return dataclasses.field(default=default, metadata={"config": False})


def fields(cls: Any) -> Iterator[dataclasses.Field]:
    """The fields of a dataclass, or of an instance, that a configuration has."""
    for field in dataclasses.fields(cls):
        if field.init and field.name not in RESERVED and field.metadata.get("config", True):
            yield _with_type(cls, field)


def _with_type(cls: Any, field: dataclasses.Field) -> dataclasses.Field:
    """The field; with the type itself, where a module has its annotations as text."""
    if type(field.type) is str:
        field = copy.copy(field)
        field.type = typing.get_type_hints(cls if inspect.isclass(cls) else type(cls))[field.name]
    return field


def choices(field: dataclasses.Field) -> Table | None:
    """The table of a `chosen` field; None for any other."""
    return _table(field, "choices")


def entries(field: dataclasses.Field) -> Table | None:
    """The table of a `several` field; None for any other."""
    return _table(field, "several")


def _table(field: dataclasses.Field, kind: str) -> Table | None:
    found = field.metadata.get(kind)
    return found() if callable(found) else found


def meanings(cls: type) -> dict[str, str]:
    """What the fields of a dataclass mean, by the "Attributes:" of its docstring and those of its
    bases; nothing of a field that none of them names."""
    found: dict[str, str] = {}
    names = "|".join(field.name for field in dataclasses.fields(cls))
    # One field may follow another in a line: "first: what it is. second, third: what they are."
    entry = re.compile(rf"(?:^|(?<=\. ))((?:{names})(?:, (?:{names}))*): ")
    for base in reversed(cls.__mro__):
        for line in _attributes(base):
            _, *parts = entry.split(line)
            for of, meaning in zip(parts[::2], parts[1::2], strict=True):
                shared = f"{of}: " if ", " in of else ""
                found |= dict.fromkeys(of.split(", "), f"{shared}{meaning.strip()}")
    return found


def _attributes(cls: type) -> list[str]:
    """The "Attributes:" of a class's own docstring, an entry each."""
    text = inspect.cleandoc(vars(cls).get("__doc__") or "")
    found = re.search(r"^Attributes:.*\n((?:[ ].*\n?|\n)*)", text, re.MULTILINE)
    section = inspect.cleandoc(f"\n{found[1]}") if found else ""
    return re.sub(r"\n\s+", " ", section).splitlines()


def summary(cls: type) -> str:
    """The first paragraph of the docstring of a class."""
    paragraph = inspect.cleandoc(vars(cls).get("__doc__") or "").partition("\n\n")[0]
    text = " ".join(paragraph.split())
    return f"{text[:-1]}." if text.endswith(":") else text


def flat(section: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Every plain field of nested sections by its dotted name; an empty section is one itself."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        place = f"{path}.{name}" if path else name
        found |= flat(value, place) if getattr(value, "items", None) and value else {place: value}
    return found
