"""Checkpoints of a run: atomic, asynchronous, checked, restored onto any number of devices.

    <folder>/<step>/state/   what training needs: a pytree of arrays
    <folder>/<step>/ema/     the averaged parameters, apart, so that evaluation reads only them
    <folder>/<step>/meta/    JSON: the caller's record and a seal, numbers that tell damage

A checkpoint appears under its step when it is complete (orbax writes it under another name and
renames it), so a run killed at any instant leaves complete ones only. The seal is needed since
not every flipped bit makes reading fail.
"""

import json
import logging
import shutil
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from options.errors import StorageError
from storage.upgrade import is_old, restore_old

PyTree = Any
ITEMS = ("state", "ema", "meta")


def _is_news(record: logging.LogRecord) -> bool:
    """False of orbax's advice about each checkpoint that waits a second for the one before it."""
    return not record.getMessage().startswith("Waiting for previous save")


logging.getLogger("absl").addFilter(_is_news)


class Restored(NamedTuple):
    """A checkpoint read back: its step, the two trees and the JSON-able record."""

    step: int
    state: PyTree
    ema: PyTree
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run. Use as a context manager: leaving it waits for the last write.

    keep: how many of the newest stay. keep_every: those whose step it divides stay too (0: none).
    """

    def __init__(self, folder: str | Path, keep: int = 2, keep_every: int = 0):
        self.folder = Path(folder).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, keep_period=keep_every or None, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self.folder, item_names=ITEMS, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, in order."""
        return _complete_steps(self.folder)

    def save(self, step: int, state: PyTree, ema: PyTree, meta: Mapping[str, Any]) -> None:
        """Write a checkpoint in the background; the trees are copied before this returns.

        Raises OSError, naming the last good checkpoint, if this write or the one before failed.
        """
        record = json.loads(json.dumps(dict(meta)))  # as it will be read back: keys are strings
        sealed = {"record": record, "seal": seal(state, ema, record)}
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            ema=ocp.args.StandardSave(ema),
            meta=ocp.args.JsonSave(sealed),
        )
        try:
            self._manager.save(step, args=args)
        except Exception as error:
            raise self._write_error(error) from error

    def wait(self) -> None:
        """Wait until every checkpoint is complete. Raises OSError as `save` does."""
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            raise self._write_error(error) from error

    def close(self) -> None:
        """Wait, then release the background threads."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def restore(self, state: PyTree, ema: PyTree) -> Restored | None:
        """The newest readable checkpoint, in the shapes, types and shardings of the templates.

        Templates: trees of `jax.ShapeDtypeStruct`s with shardings. A damaged checkpoint is named
        in a warning, moved to `<folder>-damaged` (never deleted), and the one before it is used.
        None if there is no checkpoint; ValueError if none of them can be read.
        """
        failures: dict[int, Exception] = {}
        for step in reversed(self.steps()):
            try:
                restored = self._restore_step(step, state, ema)
            except Exception as error:  # whatever a damaged file makes of a reader
                failures[step] = error
                continue
            self._set_aside(failures)
            return restored
        if failures:
            raise _unreadable(self.folder, failures)
        return None

    def _restore_step(self, step: int, state: PyTree, ema: PyTree) -> Restored:
        meta: dict[str, Any] = {}

        def restore(trees: dict[str, PyTree]) -> dict[str, PyTree]:
            args = ocp.args.Composite(
                state=ocp.args.StandardRestore(trees["state"]),
                ema=ocp.args.StandardRestore(trees["ema"]),
                meta=ocp.args.JsonRestore(),
            )
            items = self._manager.restore(step, args=args)
            meta.update(items["meta"])
            sums = sums_of(meta["seal"])
            if meta["seal"] != seal(items["state"], items["ema"], meta["record"], sums):
                raise ValueError("its contents are not those that were saved")
            return {"state": items["state"], "ema": items["ema"]}

        trees = {"state": state, "ema": ema}
        old = is_old(_ema_shapes(self.folder / str(step)))
        found = restore_old(trees, restore) if old else restore(trees)
        return Restored(step, found["state"], found["ema"], meta["record"])

    def _set_aside(self, failures: Mapping[int, Exception]) -> None:
        """Warn of unreadable checkpoints and move them out of the way of those to be written."""
        for step, error in failures.items():
            aside = self.folder.with_name(f"{self.folder.name}-damaged") / str(step)
            _warn_damaged(self.folder, step, error, f"; it is moved to {aside}")
            if jax.process_index() == 0:
                aside.parent.mkdir(exist_ok=True)
                if aside.exists():
                    shutil.rmtree(aside)
                shutil.move(self.folder / str(step), aside)
        if failures:
            self._manager.reload()

    def _write_error(self, error: Exception) -> StorageError:
        steps = self.steps()
        last = f"the last good one is step {steps[-1]}" if steps else "there is no earlier one"
        free = shutil.disk_usage(self.folder).free / 2**20
        but = (
            f"a checkpoint could not be written to {self.folder} ({free:.0f} MiB free); {last}: "
            f"{_brief(error)}"
        )
        return StorageError("workdir", but=but)


def latest_step(folder: str | Path) -> int | None:
    """The newest complete checkpoint's step, None if there is none. Reads no array."""
    return max(_complete_steps(folder), default=None)


def require_some(folder: str | Path) -> None:
    """StorageError where there is no complete checkpoint. Reads no array."""
    _steps_to_try(folder, None)


def inspect(folder: str | Path, step: int | None = None) -> dict[str, Any]:
    """What a checkpoint (the newest) holds, without reading an array.

    {"step", "steps", "meta": the saved record, "parameters": {name: (shape, dtype)}}
    """
    steps = _steps_to_try(folder, step)
    path = Path(folder).absolute() / str(steps[0])
    leaves = jax.tree_util.tree_leaves_with_path(_ema_shapes(path))
    return {
        "step": steps[0],
        "steps": _complete_steps(folder),
        "meta": _read_meta(path)["record"],
        "parameters": {_name(keys): (x.shape, str(x.dtype)) for keys, x in leaves},
    }


def load_ema(
    folder: str | Path, step: int | None = None, template: PyTree = None
) -> tuple[PyTree, int]:
    """(averaged parameters as host arrays, their step); nothing else is read.

    step: None for the newest that can be read, a damaged one being named in a warning.
    template: the structure to fill; without one, nested dicts as they were saved.
    StorageError if there is no such checkpoint, or if it is damaged.
    """
    failures: dict[int, Exception] = {}
    for candidate in _steps_to_try(folder, step):
        try:
            ema = _read_ema(Path(folder).absolute() / str(candidate), template)
        except Exception as error:
            failures[candidate] = error
            continue
        for damaged, error in failures.items():
            _warn_damaged(folder, damaged, error, "")
        return ema, candidate
    raise _unreadable(folder, failures)


def seal(
    state: PyTree, ema: PyTree, meta: Mapping[str, Any], sums: str = "crc32"
) -> dict[str, int | str]:
    """Numbers that damage changes, the same on any number of devices; and how they are made."""
    text = zlib.crc32(json.dumps(meta, sort_keys=True).encode())
    made = {"state": SUMS[sums](state), "ema": SUMS[sums](ema), "meta": text}
    return made | ({} if sums == OLD_SUMS else {"sums": sums})


def sums_of(found: Mapping[str, Any]) -> str:
    """How the numbers of a seal were made; older ones do not say."""
    return found.get("sums", OLD_SUMS)


def _crc32(tree: PyTree) -> int:
    """Of the bytes of all leaves in order. Damage leaves it as it is once in 2^32 times."""
    crc = 0
    for leaf in jax.tree.leaves(tree):
        whole = np.ascontiguousarray(_to_host(leaf)).reshape(-1)
        crc = zlib.crc32(whole.view(np.uint8).data, crc)
    return crc


def _weighted_sum(tree: PyTree) -> int:
    """Sum of (2 i + 1) word_i mod 2^32 over each leaf, as older versions sealed: two flipped signs
    cancel."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        x = np.ascontiguousarray(_to_host(leaf)).reshape(-1)
        words = x.view(f"uint{8 * min(x.dtype.itemsize, 4)}")
        sums = 0
        for start in range(0, words.size, 2**18):  # a block that stays in the cache
            block = words[start : start + 2**18].astype(np.uint32)
            index = np.arange(start, start + block.size, dtype=np.uint32)
            sums += int(np.sum((2 * index + 1) * block, dtype=np.uint32))
        total = (31 * total + sums) % 2**32
    return total


OLD_SUMS = "weighted_sum"
SUMS: dict[str, Callable[[PyTree], int]] = {"crc32": _crc32, OLD_SUMS: _weighted_sum}


def _to_host(x: Any) -> np.ndarray:
    """The whole array; collective when some of its shards are another process's."""
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
        return multihost_utils.process_allgather(x, tiled=True)
    return np.asarray(x)


def _read_ema(path: Path, template: PyTree) -> PyTree:
    shapes = _ema_shapes(path) if template is None else template
    host = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), shapes)
    args = ocp.args.StandardRestore(host)
    ema = ocp.StandardCheckpointHandler().restore(path / "ema", args=args)
    sealed = _read_meta(path)["seal"]
    if SUMS[sums_of(sealed)](ema) != sealed["ema"]:
        raise ValueError("its contents are not those that were saved")
    return ema


def _ema_shapes(path: Path) -> PyTree:
    tree = ocp.StandardCheckpointHandler().metadata(path / "ema").tree
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _read_meta(path: Path) -> dict[str, Any]:
    return ocp.JsonCheckpointHandler().restore(path / "meta", args=ocp.args.JsonRestore())


def _complete_steps(folder: str | Path) -> list[int]:
    folder = Path(folder)
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def _steps_to_try(folder: str | Path, step: int | None) -> list[int]:
    """Newest first; only `step` if that is given."""
    steps = _complete_steps(folder)
    if not steps:
        raise StorageError("workdir", but=f"no checkpoint in {folder}")
    if step is None:
        return steps[::-1]
    if step not in steps:
        but = f"no checkpoint of step {step} in {folder}; it has {steps}"
        raise StorageError("eval.checkpoints", but=but)
    return [step]


def _warn_damaged(folder: str | Path, step: int, error: Exception, then: str) -> None:
    warnings.warn(
        f"checkpoint {Path(folder) / str(step)} is damaged ({_brief(error)}){then}; "
        f"the one before it is used",
        stacklevel=4,
    )


def _unreadable(folder: str | Path, failures: Mapping[int, Exception]) -> StorageError:
    reasons = "; ".join(f"step {step}: {_brief(error)}" for step, error in failures.items())
    return StorageError("workdir", but=f"no checkpoint in {folder} can be read: {reasons}")


def _brief(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
