"""Sections of a configuration, read off the classes that they make.

A section holds the fields of one dataclass, each with the default of the class itself. Three kinds
of field are sections in turn:

    a dataclass               its fields
    one of a table            `name`, a key of the table, and the fields of the class of that name
    several of a table        for each name that is there, the fields of the class of that name; one
                              that has its own field `name` may have any key

A field says so itself (`options.fields`), so that a new class in a table can be chosen, and all of
its fields set, with no edit here.

    complete   fills a sparse section with defaults; InvalidValue for a field that nothing reads
    make       the object of a complete section
"""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from options.choices import did_you_mean
from options.classes import choose_class, name_of
from options.errors import InvalidValue, within
from options.fields import Table, choices, entries, fields
from storage import json_text


def is_section(value: Any) -> bool:
    """Whether a value has fields of its own."""
    return isinstance(value, Mapping | ConfigDict)


def as_section(given: Any) -> Any:
    """A choice by its name alone as the section with that name; anything else as it is."""
    return {"name": given} if isinstance(given, str) else given


def complete(default: Any, given: Mapping[str, Any], path: str = "") -> ConfigDict:
    """The section of a dataclass, with what is given in place of its own values.

    default: an instance, or the class itself, whose fields may then lack a default.
    path: of the section, put before the names of fields in errors.
    """
    known = {field.name: field for field in fields(default)}
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InvalidValue(_join(path, name), but=f"{_name(default)} has no such field{hint}")
    section = ConfigDict()
    for name, field in known.items():
        value, place = own_value(default, field), _join(path, name)
        if table := choices(field):
            section[name] = _complete_choice(table, value, given.get(name, {}), place)
        elif table := entries(field):
            section[name] = _complete_several(table, value, given.get(name), place)
        elif dataclasses.is_dataclass(value):
            section[name] = complete(value, _mapping(given.get(name, {}), place), place)
        else:
            section[name] = _plain(field, value, given.get(name, value), place)
    return section


def own_value(default: Any, field: dataclasses.Field) -> Any:
    """The value of a field in an instance, or the default of a class; MISSING if it has none."""
    if not inspect.isclass(default):
        return getattr(default, field.name)
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _name(default: Any) -> str:
    return (default if inspect.isclass(default) else type(default)).__name__


def _complete_choice(table: Table, default: Any, given: Any, path: str) -> ConfigDict:
    given = dict(_mapping(as_section(given), path))
    name = given.pop("name", name_of(table, type(default)))
    cls = choose_class(table, name, path)
    section = ConfigDict({"name": name})
    section.update(complete(default if cls is type(default) else cls, given, path))
    return section


def _complete_several(table: Table, default: tuple, given: Any, path: str) -> ConfigDict:
    own = {name_of(table, type(value)): value for value in default}
    section = ConfigDict()
    for key, values in _mapping({n: {} for n in own} if given is None else given, path).items():
        place = _join(path, key)
        values = dict(_mapping(as_section(values), place))
        said = {"name": values.pop("name")} if "name" in values else {}
        entry = own[key] if key in own and not said else entry_of(table, key, said, path)
        section[key] = ConfigDict(said)
        section[key].update(complete(entry, values, place))
    return section


def entry_of(table: Table, key: str, section: Mapping[str, Any], path: str) -> type:
    """The class of one of several: that of its `name`, or where it has none of its key."""
    if "name" in section:
        return choose_class(table, section["name"], _join(path, key))
    return choose_class(table, key, path)


def _mapping(given: Any, path: str) -> Mapping[str, Any]:
    if not is_section(given):
        raise InvalidValue(path, given, "a section with fields")
    return given


def _plain(field: dataclasses.Field, default: Any, given: Any, path: str) -> Any:
    """A value of the type that the field has; None where that is allowed stands for unset."""
    kinds = _types(field, default)
    if given is dataclasses.MISSING:
        return config_dict.placeholder(kinds[0])  # `make` asks for it
    given = _tuple(given)
    if tuple in kinds and type(given) is int:
        given = (given,)
    if float in kinds and (type(given) is int or given in json_text.IN_WORDS.values()):
        given = float(given)
    if given is None and (type(None) in kinds or default is dataclasses.MISSING):
        return config_dict.placeholder(next(kind for kind in kinds if kind is not type(None)))
    if type(given) is int and kinds[0] is str and int in kinds:
        given = str(given)  # one field of a configuration has one type
    if not any(type(given) is kind for kind in kinds):
        raise InvalidValue(path, given, " or ".join(_called(kind) for kind in kinds))
    if isinstance(given, tuple) and not all(type(x) in _elements(field) for x in given):
        raise InvalidValue(path, given, f"{' or '.join(map(_called, _elements(field)))} each")
    return given


def _tuple(value: Any) -> Any:
    """A list, as JSON has it, as a tuple, so that what is made of it is hashable."""
    return tuple(value) if isinstance(value, list) else value


def _types(field: dataclasses.Field, default: Any) -> list[type]:
    """The types that a value may have, that of the default first."""
    named = field.type
    union = typing.get_origin(named) in (typing.Union, types.UnionType)
    parts = [typing.get_origin(p) or p for p in (typing.get_args(named) if union else (named,))]
    kinds = [part for part in parts if inspect.isclass(part)]
    first = [] if default in (None, dataclasses.MISSING) else [type(default)]
    return first + [kind for kind in kinds if kind not in first]


def _elements(field: dataclasses.Field) -> tuple[type, ...]:
    """The types of the values in a field that is a tuple, as in `tuple[str, ...]`: text, or
    numbers of both kinds."""
    parts = (field.type, *typing.get_args(field.type))
    of_text = any(str in typing.get_args(p) for p in parts if typing.get_origin(p) is tuple)
    return (str,) if of_text else (int, float)


def _called(kind: type) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    return names.get(kind, "several values" if kind is tuple else "nothing")


def make(cls: type, section: Mapping[str, Any], path: str = "") -> Any:
    """The object of a complete section; InvalidValue for a field that is to be given and is not."""
    values: dict[str, Any] = {}
    for field in fields(cls):
        value, place, own = section[field.name], _join(path, field.name), own_value(cls, field)
        if table := choices(field):
            values[field.name] = make(choose_class(table, value["name"], place), value, place)
        elif table := entries(field):
            values[field.name] = tuple(
                make(entry_of(table, key, value[key], place), value[key], _join(place, key))
                for key in sorted(value, key=functools.partial(_rank, list(table)))
            )
        elif dataclasses.is_dataclass(own):
            values[field.name] = make(type(own), value, place)
        else:
            kinds = _types(field, own)
            if value is None and type(None) not in kinds:
                raise InvalidValue(place, expected=" or ".join(map(_called, kinds)))
            values[field.name] = _tuple(value)
    with within(path):
        return cls(**values)


def _rank(names: list[str], key: str) -> tuple[int, str]:
    """The order of several: that of the table, then the user's own by their keys."""
    return (names.index(key), "") if key in names else (len(names), key)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
