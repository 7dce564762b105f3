"""Classes by name: those of a table, and a user's own as "module:Class".

    --config.process=vp                  a line of the table
    --config.process=mine:Cosine         the class Cosine of mine.py, or of an installed package

Code is imported only from where the user's own command points: Python's path, the folder of the
configuration file that it names, and the folders that the workdir which it names remembers.
Weights may be a stranger's, so they bring no folder: what they name has to be in one of these.
"""

import dataclasses
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from options.choices import choose, did_you_mean, listed, require
from options.errors import InvalidValue, Words

T = TypeVar("T")
OWN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")  # module:Class
OPTIONAL = {"check", "validate"}  # methods that a class of a table has, and one's own may leave out
CALL = {"__call__"}
_folders: list[Path] = []  # that are imported from beside Python's path, the newest last


def choose_class(table: Mapping[str, T], name: str, field: str) -> T:
    """The entry of the table, or the user's own of "module:Class", which must be what the entries
    are; InvalidValue that names the field. What a module raises as it is imported is left alone."""
    if type(name) is not str or ":" not in name or name in table:
        return choose(table, name, field)
    require(OWN.fullmatch(name), field, name, f"'module:Class', or one of {sorted(table)}")
    module, _, attribute = name.partition(":")
    _require_there(module, name, field)
    found = vars(importlib.import_module(module))
    hint = did_you_mean(attribute, found)
    if attribute not in found:
        raise InvalidValue(field, name, but=f"{module} has no {attribute!r}{hint}")
    _require_alike(found[attribute], list(table.values()), name, field)
    return found[attribute]


def named(table: Mapping[str, type[T]], value: "T | str", field: str) -> T:
    """`value`, or where it is a name, the class of that name with its defaults."""
    return choose_class(table, value, field)() if isinstance(value, str) else value


def named_or_alike(table: Mapping[str, type[T]], value: "T | str", field: str) -> T:
    """The same; InvalidValue for an object that is not as those of the table are."""
    found = named(table, value, field)
    is_class = inspect.isclass(found)
    require(not is_class, field, Words(f"the class {found}"), "an object of it, or its name")
    shown = Words(f"an array of shape {value.shape}") if hasattr(value, "shape") else value
    _require_alike(type(found), list(table.values()), shown, field)
    return found


def name_of(table: Mapping[str, Any], cls: type) -> str:
    """The name by which `choose_class` gives this class."""
    own = f"{cls.__module__}:{cls.__qualname__}"
    return next((name for name, entry in table.items() if entry is cls), own)


def ask(owner: Any, method: str, *arguments: Any) -> None:
    """Calls a check of a class that may leave it out."""
    getattr(owner, method, lambda *_: None)(*arguments)


def import_from(folder: str | Path) -> None:
    """Lets classes be imported from a folder that the user's command points to; what Python's path
    has already comes first."""
    folder = Path(folder).resolve()
    _folders[:] = [*(known for known in _folders if known != folder), folder]
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def folders_of(names: Iterable[Any]) -> list[str]:
    """The folders, of those given to `import_from`, of the modules in names "module:Class"."""
    own = [name for name in names if type(name) is str and OWN.fullmatch(name)]
    parts = {name.partition(":")[0].partition(".")[0] for name in own}
    places = [_place(part) for part in sorted(parts) if part in sys.modules]
    return [str(folder) for folder in _folders if any(_lies_in(p, folder) for p in places)]


def _require_there(module: str, name: str, field: str) -> None:
    """InvalidValue for a module that there is not, or that another one of its name hides."""
    first = module.partition(".")[0]
    has = (folder for folder in reversed(_folders) if _of_module(folder / first))
    folder, place = next(has, None), _place(first)
    if folder is not None and not _lies_in(place, folder):
        but = f"{folder} has a module {first!r}, but that name is taken by {place}"
        raise InvalidValue(field, name, "a module of another name", but)
    try:
        there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # of what a package imports
        there = False
    if not there or first in sys.stdlib_module_names:
        places = ", ".join(map(str, reversed(_folders))) or "Python's path"
        expected = "its folder on PYTHONPATH, or --config with a file beside it"
        raise InvalidValue(field, name, expected, but=f"there is no module {module!r} in {places}")


def _of_module(path: Path) -> bool:
    """Whether there is a module or package at a path without its suffix."""
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _place(first: str) -> Path | None:
    """Where a module that no package holds is imported from; None where there is none."""
    try:
        spec = importlib.util.find_spec(first)
    except ValueError:  # that of a program, which has none
        return None
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return next((Path(place) for place in places if place), None)


def _lies_in(place: Path | None, folder: Path) -> bool:
    return place is not None and place.resolve().is_relative_to(folder)


def _require_alike(found: Any, entries: list[Any], name: Any, field: str) -> None:
    """InvalidValue for what is not as the entries of the table are: their kind, the base that they
    share or else their methods, and frozen dataclasses where all of them are dataclasses."""
    if not all(map(inspect.isclass, entries)):
        kind = type(entries[0])
        require(type(found) is kind, field, name, f"a {kind.__name__}")
        return
    require(inspect.isclass(found), field, Words(f"{name!r}, which is no class"), "a class")
    base = _shared_base(entries)
    expected = f"a subclass of {base.__module__}.{base.__name__}" if base else ""
    require(base is None or issubclass(found, base), field, name, expected)
    missing = _required(entries, base) - _members(found) | _abstract(found)
    if missing:
        raise InvalidValue(field, name, but=f"it has no {listed(sorted(missing))}")
    if all(map(dataclasses.is_dataclass, entries)):
        made = vars(found).get("__dataclass_params__")
        fixed = made is not None and (made.frozen or made.unsafe_hash)
        require(fixed, field, name, "a class under @dataclasses.dataclass(frozen=True)")


def _shared_base(entries: list[type]) -> type | None:
    """The first of the classes that all entries derive from; None where they share none."""
    shared = [base for base in entries[0].__mro__ if all(base in cls.__mro__ for cls in entries)]
    # object, ABC and the like have no methods of their own to inherit.
    own = [base for base in shared if _public(vars(base)) and base is not object]
    return own[-1] if own else None


def _required(entries: list[type], base: type | None) -> set[str]:
    """What all entries have: of those that share a base, only the call."""
    shared = set.intersection(*map(_members, entries)) - OPTIONAL
    return shared & CALL if base else shared


def _members(cls: type) -> set[str]:
    """Public attributes and fields of a class, and the call."""
    return _public([*dir(cls), *inspect.get_annotations(cls)])


def _public(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")} | CALL & set(names)


def _abstract(cls: type) -> set[str]:
    """What a base leaves for its subclasses to define, and this one does not."""
    members = ((name, inspect.getattr_static(cls, name)) for name in dir(cls))
    return {name for name, value in members if getattr(value, "__isabstractmethod__", False)}
