"""The folder of a run: whose it is, and whether it can be written."""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from options.errors import InvalidValue, StorageError
from options.fields import flat
from options.project import nearest
from storage import json_text

CONFIG = "config.json"
FOLDERS = "folders.json"  # from which the config's own classes are imported
REMOTE = re.compile(r"[A-Za-z][\w+.-]*:")  # the first part of gs://bucket/run
PATTERN = set("*?[]\\")


def read_config(workdir: str | Path) -> dict[str, Any]:
    """The config that `remember` wrote. StorageError if the folder has none."""
    path = Path(workdir) / CONFIG
    require_folder(workdir)
    if not path.exists():
        but = f"{workdir} has no {CONFIG}: no run was started there"
        raise StorageError("workdir", but=but)
    try:
        config = json.loads(path.read_text())
        if type(config) is not dict:
            raise ValueError("it has no sections")
        return config
    except (ValueError, RecursionError) as error:
        raise StorageError("workdir", but=f"{path} is damaged: {error}") from None


def read_folders(workdir: str | Path) -> list[str]:
    """The folders from which `remember` says that classes are imported; none where `workdir` is
    none. StorageError for a damaged record."""
    path = Path(workdir) / FOLDERS
    try:
        found = json.loads(path.read_text()) if path.is_file() else []
        if type(found) is not list or not all(type(folder) is str for folder in found):
            raise ValueError("it has no list of folders")
        return found
    except (ValueError, RecursionError) as error:
        raise StorageError("workdir", but=f"{path} is damaged: {error}") from None


def require_folder(workdir: str | Path) -> None:
    """StorageError, with the nearest that there is, where there is no such folder."""
    if not Path(workdir).is_dir():
        expected = f"the folder of a run{nearest(workdir)}"
        raise StorageError("workdir", str(workdir), expected, but="there is none")


@dataclass(frozen=True)
class Claim:
    """By which configuration a run takes a workdir.

    Attributes:
      config: nested sections, JSON-able; None for a run that remembers none.
      force: take over a folder that another config or other data made.
      free: dotted fields, or their prefixes, that a continued run may change.
      read: the config that a workdir remembers, in the present shape.
      about: lines that are printed once the folder is the run's.
      folders: from which classes that the config names are imported.
    """

    config: Mapping[str, Any] | None = None
    force: bool = False
    free: Sequence[str] = ()
    read: Callable[[Path], Mapping[str, Any]] = read_config
    about: Sequence[str] = ()
    folders: Sequence[str] = ()


NO_CLAIM = Claim()


def require_own(workdir: Path, claim: Claim) -> None:
    """InvalidValue, naming the first differing fields, if `workdir` belongs to another config than
    the claim's."""
    if claim.config is None or claim.force or not (workdir / CONFIG).exists():
        return
    found = differences(json_text.of_config(claim.read(workdir)), json_text.of_config(claim.config))
    found = {k: said for k, said in found.items() if not is_within(k, claim.free)}
    if found:
        but = (
            f"{workdir} was made by another config: {first_few(found)}. "
            f"Take another workdir, or ask for this one with --force"
        )
        raise InvalidValue("workdir", but=but)


def remember(workdir: Path, claim: Claim) -> None:
    """Write the config of the run that `workdir` is now of, and the folders of its classes."""
    if claim.config is not None and jax.process_index() == 0:
        if claim.folders or (workdir / FOLDERS).exists():
            json_text.write(workdir / FOLDERS, list(claim.folders))
        json_text.write(workdir / CONFIG, json_text.of_config(claim.config), sort_keys=True)


def prepare_workdir(workdir: str | Path) -> Path:
    """The absolute path of a folder that a run can write to and read its checkpoints from.

    InvalidValue for a path that orbax would take for a pattern, with nothing made; else as
    `require_writable`.
    """
    require_local(workdir)
    workdir = Path(workdir).absolute()
    found = PATTERN & set(str(workdir))
    if found:
        but = f"checkpoints cannot be read back from a path with {' '.join(sorted(found))}"
        raise InvalidValue("workdir", str(workdir), but=but)
    require_writable(workdir)
    return workdir


@contextmanager
def sole_writer(workdir: str | Path) -> Iterator[None]:
    """Inside, no other run may write to `workdir`: else StorageError. A kill ends the claim."""
    if jax.process_index() != 0:
        yield
        return
    with open(Path(workdir) / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            but = f"another run is training in {workdir}"
            raise StorageError("workdir", but=but) from error
        yield


def require_writable(workdir: str | Path) -> None:
    """Make the folder and write a file into it. Raises StorageError if that fails, or if it is no
    folder of this machine."""
    require_local(workdir)
    try:
        Path(workdir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError("workdir", but=f"{workdir} cannot be written: {error}") from error


def require_local(workdir: str | Path) -> None:
    """StorageError for a folder of another machine, as in gs://bucket/run."""
    if any(REMOTE.fullmatch(part) for part in Path(workdir).parts):
        given = re.sub(":/+", "://", str(workdir), count=1)  # of which a Path keeps one slash
        raise StorageError("workdir", given, "a folder of this machine, or a mounted one")


def require_space(workdir: str | Path, needed: int) -> None:
    """Raises StorageError if the disk of `workdir` has less than `needed` bytes free."""
    free = shutil.disk_usage(workdir).free
    if free < needed:
        but = (
            f"{workdir} has {free / 2**20:.0f} MiB free, the checkpoints of this run need "
            f"{needed / 2**20:.0f} MiB"
        )
        raise StorageError("workdir", but=but)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """What differs between two nested configurations: by dotted field, in words."""
    was, now = ({k: json.dumps(v) for k, v in flat(config).items()} for config in (old, new))
    return {
        k: f"{k} was {was.get(k, 'absent')}, now {now.get(k, 'absent')}"
        for k in sorted(was | now)
        if was.get(k) != now.get(k)
    }


def is_within(field: str, sections: Sequence[str]) -> bool:
    """Whether a dotted field is one of these sections or fields, or in one."""
    return any(field == section or field.startswith(f"{section}.") for section in sections)


def first_few(found: Mapping[str, str]) -> str:
    """The first three differences, and the number of the others."""
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(list(found.values())[:3]) + more
