"""JSON as the standard has it: no NaN and no Infinity, which Python would write and read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.files import atomic_write

# How a configuration says what JSON cannot; `experiment.sections` reads them as numbers.
IN_WORDS = {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}


def plain(value: Any, constant: Callable[[str], Any] = lambda name: None) -> Any:
    """What JSON can hold of a value.

    constant: what stands for "NaN", "Infinity" and "-Infinity"; by default null.
    """
    return json.loads(json.dumps(value), parse_constant=constant)


def of_config(config: Any) -> Any:
    """What JSON can hold of a configuration, with infinite numbers in words."""
    return plain(config, IN_WORDS.__getitem__)


def write(path: str | Path, value: Any, **options: Any) -> None:
    """Writes a value, indented, with a newline at the end, whole or not at all; numbers that are
    not finite are null.

    options: of `json.dumps`.
    """
    with atomic_write(path, "w") as file:
        file.write(json.dumps(plain(value), allow_nan=False, **{"indent": 2} | options) + "\n")
