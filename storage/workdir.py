"""The folder of a run: whose it is, and whether it can be written."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from options.errors import InvalidValue, StorageError
from options.fields import flat
from storage.files import atomic_write

CONFIG = "config.json"


def claim_workdir(
    workdir: str | Path, config_json: str | None, force: bool = False, free: Sequence[str] = ()
) -> Path:
    """Make `workdir` the folder of the run that `config_json` describes, and remember the config.

    free: dotted fields (or their prefixes) that a continued run may change, such as
    "training.steps". force: take over a folder made by another config.
    Raises InvalidValue, naming the first differing fields, if the folder belongs to another config,
    and StorageError if it cannot be written.
    """
    workdir = Path(workdir).absolute()
    require_writable(workdir)
    if config_json is None:
        return workdir
    path = workdir / CONFIG
    if path.exists() and not force:
        old, new = flat(json.loads(path.read_text())), flat(json.loads(config_json))
        fields = [k for k in sorted(old | new) if old.get(k, _ABSENT) != new.get(k, _ABSENT)]
        fields = [k for k in fields if not any(k == f or k.startswith(f"{f}.") for f in free)]
        if fields:
            shown = "; ".join(_difference(k, old, new) for k in fields[:3])
            more = f" and {len(fields) - 3} more" if len(fields) > 3 else ""
            but = (
                f"{workdir} was made by another config: {shown}{more}. "
                f"Take another workdir, or ask for this one with --force"
            )
            raise InvalidValue("workdir", but=but)
    if jax.process_index() == 0:
        with atomic_write(path, "w") as file:
            json.dump(json.loads(config_json), file, indent=2, sort_keys=True)
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


def read_config(workdir: str | Path) -> dict[str, Any]:
    """The config that `claim_workdir` remembered. StorageError if the folder has none."""
    path = Path(workdir) / CONFIG
    if not path.exists():
        but = f"{workdir} has no {CONFIG}: no run was started there"
        raise StorageError("workdir", but=but)
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise StorageError("workdir", but=f"{path} is damaged: {error}") from None


def require_writable(workdir: str | Path) -> None:
    """Make the folder and write a file into it. Raises StorageError if that fails."""
    try:
        Path(workdir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError("workdir", but=f"{workdir} cannot be written: {error}") from error


def require_space(workdir: str | Path, needed: int) -> None:
    """Raises StorageError if the disk of `workdir` has less than `needed` bytes free."""
    free = shutil.disk_usage(workdir).free
    if free < needed:
        but = (
            f"{workdir} has {free / 2**20:.0f} MiB free, the checkpoints of this run need "
            f"{needed / 2**20:.0f} MiB"
        )
        raise StorageError("workdir", but=but)


_ABSENT = object()


def _difference(field: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    was, now = (json.dumps(d[field]) if field in d else "absent" for d in (old, new))
    return f"{field} was {was}, now {now}"
