"""Fields of dataclasses as a configuration sees them.

solver: Solver = chosen(SOLVERS, DDIM())                one of a table
conditions: tuple[Condition, ...] = several(CONDITIONS)  any of a table
seed: int = hidden(0)                                    set elsewhere
"""

import dataclasses
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
            yield field


def choices(field: dataclasses.Field) -> Table | None:
    """The table of a `chosen` field; None for any other."""
    return _table(field, "choices")


def entries(field: dataclasses.Field) -> Table | None:
    """The table of a `several` field; None for any other."""
    return _table(field, "several")


def _table(field: dataclasses.Field, kind: str) -> Table | None:
    found = field.metadata.get(kind)
    return found() if callable(found) else found


def flat(section: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Every plain field of nested sections by its dotted name; an empty section is one itself."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        place = f"{path}.{name}" if path else name
        found |= flat(value, place) if getattr(value, "items", None) and value else {place: value}
    return found
