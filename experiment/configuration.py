"""Configurations: read from a file, from weights or from a run, completed, and overridden.

A configuration file has a function `get_config()` that returns nested sections with what differs
from the defaults of the classes. `complete` fills in the rest, so that every field can be
overridden on the command line with its type checked, and a saved configuration is whole.
"""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiment import sections
from experiment.sections import as_section, is_section
from options.choices import did_you_mean
from options.classes import import_from
from options.errors import InvalidValue, StorageError
from options.fields import entries, fields, flat
from options.project import find, nearest
from storage.upgrade import upgrade_config
from storage.weights import read_meta
from storage.workdir import CONFIG, read_config, read_folders

TASK, DEFAULT_TASK = "task", "image"
SettingsOf = Callable[[str], type]


def read(where: str | Path) -> dict[str, Any]:
    """The sections given by a configuration file (.py), or remembered by weights or a workdir.

    Classes of one's own are found in the folder of the file, and in those that the workdir
    remembers; weights bring no folder, see `options.classes`.

    where: a path, or a name of what the project ships; see `options.project.find`.
    """
    path = find(where)
    if path.suffix == ".py":
        return read_file(path)
    for folder in read_folders(path):
        import_from(folder)
    return remembered(path)


def read_file(path: str | Path) -> dict[str, Any]:
    """The sections that a configuration file gives; its folder can be imported from."""
    path = Path(path)
    if not path.is_file():
        expected = f"a configuration file{nearest(path)}"
        raise StorageError("config", str(path), expected, but="there is none")
    import_from(path.parent)
    spec = importlib.util.spec_from_file_location(f"configuration_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config().to_dict()


def remembered(where: str | Path) -> dict[str, Any]:
    """The sections that exported weights (a file) or a workdir remember, in the present shape."""
    where = Path(where)
    if where.is_dir() or not (where.is_file() or where.suffix == ".npz"):
        return _upgraded(where / CONFIG, "workdir", read_config(where))
    meta = read_meta(where)
    if "config" not in meta:
        raise InvalidValue("weights", str(where), "--config", but="it remembers no config")
    return _upgraded(where, "weights", meta["config"])


def _upgraded(path: Path, field: str, config: Any) -> dict[str, Any]:
    """The sections in the present shape; StorageError where those in `path` are of no version."""
    try:
        return upgrade_config(config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        but = f"{path} remembers no configuration of this project: {error}"
        raise StorageError(field, but=but) from None


def without_task(given: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a configuration, less the kind of its task."""
    given = dict(given)
    given.pop(TASK, None)
    return given


def complete(
    given: Mapping[str, Any], overrides: Mapping[str, Any], settings_of: SettingsOf
) -> ConfigDict:
    """Every field of a configuration, locked; of the overrides only the choices are made."""
    own: dict[str, Any] = ConfigDict(dict(given), type_safe=False, allow_dotted_keys=True).to_dict()
    own[TASK] = overrides.get(TASK, own.get(TASK, DEFAULT_TASK))
    config = _complete(own, settings_of)
    # The outer ones first, since what is chosen decides which fields there are.
    paths = {name.removesuffix(".name"): value for name, value in overrides.items()}
    for path in sorted(paths, key=lambda path: path.count(".")):
        if _choose(config, own, path, paths[path], settings_of):
            config = _complete(own, settings_of)
    return config


def override(
    config: ConfigDict, values: Mapping[str, Any], complete: Callable[[Mapping], ConfigDict]
) -> ConfigDict:
    """The configuration with other values by dotted name; InvalidValue for what it has not."""
    given = config.to_dict()
    for name, value in values.items():
        section, last = _section(config, name), name.rpartition(".")[2]
        if section is None or last not in section:
            hint = did_you_mean(name, flat(config))
            raise InvalidValue(name, value, but=f"the configuration has no such field{hint}")
        if not is_section(section[last]):
            _at(given, name.rpartition(".")[0])[last] = value
    return complete(given)


def _complete(given: dict[str, Any], settings_of: SettingsOf) -> ConfigDict:
    config = sections.complete(settings_of(given[TASK]), without_task(given))
    config[TASK] = given[TASK]
    return config.lock()


def _choose(
    config: ConfigDict, given: dict[str, Any], path: str, value: Any, settings_of: SettingsOf
) -> bool:
    """Makes the choice of an override in `given`; whether that changed which fields there are."""
    outer, _, last = path.rpartition(".")
    several = [field.name for field in fields(settings_of(config.task)) if entries(field)]
    own = next((name for name in several if path.startswith(f"{name}.")), "")
    key, _, inner = path.removeprefix(f"{own}.").partition(".")
    if own and key not in config[own]:
        _at(given, own)[key] = {} if inner else as_section(value)
        return True
    section = _section(config, path)
    current: Any = section.get(last) if section is not None else None
    is_choice = is_section(current) and ("name" in current or outer in several)
    if not is_choice or current.get("name", last) == value:
        return False
    _at(given, outer)[last] = as_section(value)
    return True


def _section(config: ConfigDict, name: str) -> ConfigDict | None:
    """The section that a dotted name lies in; None where there is none."""
    place: Any = config
    for part in name.split(".")[:-1]:
        place = place.get(part) if is_section(place) else None
    return place if is_section(place) else None


def _at(given: dict[str, Any], path: str) -> dict[str, Any]:
    """The dict at a dotted path of what is given, made where it lacks; a name as its section."""
    for part in path.split(".") if path else ():
        given[part] = as_section(given.get(part, {}))
        given = given[part]
    return given
