"""Folders of outputs, a command each, named by what sets the command apart.

    named(["ddim", "eta=0.5"])           ddim-eta=0.5
    claimed(parent, name, settings)      parent/name, with settings.json beside what is to come

A command that is given again finds its folder again, and what it left there. A folder that was made
under other settings is never touched: should two commands have one name, the later one has a hash
of its settings behind it.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from options.errors import StorageError
from options.fields import flat
from storage import json_text
from storage.files import atomic_write
from storage.workdir import require_writable

SETTINGS = "settings.json"
DEFAULT = "default"  # of a command that nothing sets apart
LONGEST = 80  # letters of a name
DIGITS = 8  # of a hash


def named(parts: Sequence[str]) -> str:
    """One name of several parts; what would be too long is cut and has a hash of all behind it."""
    whole = "-".join(parts) or DEFAULT
    if len(whole) <= LONGEST:
        return whole
    kept = [
        part for i, part in enumerate(parts) if len("-".join(parts[: i + 1])) < LONGEST - DIGITS
    ]
    return "-".join([*kept, _hash(whole)])


def spelled(value: Any) -> str:
    """A value as a part of a name: of a path its last part, several values with + between them."""
    several = value if isinstance(value, tuple | list) else str(value).split(",")
    texts = [str(part).removesuffix(".0") for part in several]
    parts = [Path(text).stem if "/" in text else text for text in texts]
    return re.sub(r"[^\w.+=-]+", "_", "+".join(parts)).strip("_.") or "none"


def claimed(parent: Path, name: str, settings: Mapping[str, Any]) -> Path:
    """The folder for what is made under these JSON-able settings, which are written into it.

    StorageError where it cannot be written.
    """
    text = json.dumps(json_text.of_config(settings), indent=2, allow_nan=False)
    folder = parent / name
    if _others(folder / SETTINGS, json.loads(text)):
        folder = parent / f"{name}-{_hash(text)}"
    require_writable(folder)
    with atomic_write(folder / SETTINGS, "w") as file:
        file.write(f"{text}\n")
    return folder


def _others(path: Path, settings: dict[str, Any]) -> bool:
    """Whether other settings lie there. What only one of the two has is of another version of the
    project, and sets no command apart."""
    if not path.exists():
        return False
    try:
        found = flat(json.loads(path.read_text()))
    except (ValueError, AttributeError, RecursionError) as error:
        raise StorageError("workdir", but=f"{path} is damaged: {error}") from None
    own = flat(settings)
    return any(found[name] != own[name] for name in found.keys() & own.keys())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
