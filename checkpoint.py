"""Checkpoints of a run: atomic, asynchronous, restored onto any number of devices.

    <folder>/<step>/state/   what training needs: a pytree of arrays
    <folder>/<step>/ema/     the averaged parameters, apart, so that evaluation reads only them
    <folder>/<step>/meta/    JSON: data position, microbatch, seconds...

A checkpoint appears under its step when it is complete (orbax writes it under another name and
renames it), so a run killed at any instant leaves complete ones only.
"""

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

PyTree = Any
ITEMS = ("state", "ema", "meta")


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
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: PyTree, ema: PyTree, meta: Mapping[str, Any]) -> None:
        """Write a checkpoint in the background; the trees are copied before this returns.

        Raises OSError, naming the last good checkpoint, if this write or the one before failed.
        """
        if step in self._manager.all_steps():
            return
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            ema=ocp.args.StandardSave(ema),
            meta=ocp.args.JsonSave(dict(meta)),
        )
        try:
            self._manager.save(step, args=args)
        except Exception as error:
            raise self._write_error(step, error) from error

    def wait(self) -> None:
        """Wait until every checkpoint is complete. Raises OSError as `save` does."""
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            raise self._write_error(None, error) from error

    def close(self) -> None:
        """Wait, then release the background threads."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def restore(self, state: PyTree, ema: PyTree) -> Restored | None:
        """The newest readable checkpoint, in the shapes, types and shardings of the templates.

        Templates: trees of arrays or `jax.ShapeDtypeStruct`s with shardings. A damaged checkpoint
        is named in a warning, moved to `<folder>-damaged` (never deleted), and the one before it
        is used. None if there is no checkpoint; ValueError if none of them can be read.
        """
        failures: dict[int, Exception] = {}
        for step in reversed(self.steps()):
            args = ocp.args.Composite(
                state=ocp.args.StandardRestore(state),
                ema=ocp.args.StandardRestore(ema),
                meta=ocp.args.JsonRestore(),
            )
            try:
                items = self._manager.restore(step, args=args)
            except Exception as error:  # whatever a damaged file makes of a reader
                failures[step] = error
                continue
            self._set_aside(failures)
            return Restored(step, items["state"], items["ema"], items["meta"])
        if failures:
            raise ValueError(
                f"no checkpoint in {self.folder} can be read; the newest: {_explain(failures)}"
            )
        return None

    def _set_aside(self, failures: Mapping[int, Exception]) -> None:
        """Warn of unreadable checkpoints and move them out of the way of those to be written."""
        for step, error in failures.items():
            aside = self.folder.with_name(f"{self.folder.name}-damaged") / str(step)
            warnings.warn(
                f"checkpoint {self.folder / str(step)} is damaged ({_first_line(error)}); it is "
                f"moved to {aside} and the one before it is used",
                stacklevel=3,
            )
            if jax.process_index() == 0:
                aside.parent.mkdir(exist_ok=True)
                if aside.exists():
                    shutil.rmtree(aside)
                shutil.move(self.folder / str(step), aside)
        if failures:
            self._manager.reload()

    def _write_error(self, step: int | None, error: Exception) -> OSError:
        good = [s for s in _complete_steps(self.folder) if s != step]
        last = f"the last good one is step {good[-1]}" if good else "there is no earlier one"
        free = shutil.disk_usage(self.folder).free / 2**20
        return OSError(
            f"a checkpoint could not be written to {self.folder} ({free:.0f} MiB free); {last}: "
            f"{_first_line(error)}"
        )


def latest_step(folder: str | Path) -> int | None:
    """The newest complete checkpoint's step, None if there is none. Reads no array."""
    return max(_complete_steps(folder), default=None)


def inspect(folder: str | Path, step: int | None = None) -> dict[str, Any]:
    """What a checkpoint holds: {"step", "steps", "meta", "parameters": {name: (shape, dtype)}}."""
    step = _resolve(folder, step)
    with _reader(folder) as manager:
        items = manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
        tree = manager.item_metadata(step)["ema"]
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        "step": step,
        "steps": _complete_steps(folder),
        "meta": items["meta"],
        "parameters": {_name(path): (tuple(x.shape), str(x.dtype)) for path, x in leaves},
    }


def load_ema(
    folder: str | Path, step: int | None = None, template: PyTree = None
) -> tuple[PyTree, int]:
    """(averaged parameters, step) of one checkpoint (the newest): host arrays, nothing else read.

    Without a template, nested dicts as they were saved; with one, its structure.
    """
    step = _resolve(folder, step)
    if template is not None:
        template = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), template)
    with _reader(folder) as manager:
        args = ocp.args.Composite(ema=ocp.args.StandardRestore(template))
        ema = manager.restore(step, args=args)["ema"]
    return jax.tree.map(np.asarray, ema), step


def _reader(folder: str | Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(read_only=True, create=False)
    return ocp.CheckpointManager(Path(folder).absolute(), item_names=ITEMS, options=options)


def _complete_steps(folder: str | Path) -> list[int]:
    folder = Path(folder)
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def _resolve(folder: str | Path, step: int | None) -> int:
    steps = _complete_steps(folder)
    if not steps:
        raise FileNotFoundError(f"no checkpoint in {folder}")
    if step is None:
        return steps[-1]
    if step not in steps:
        raise FileNotFoundError(f"no checkpoint of step {step} in {folder}; it has {steps}")
    return step


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _explain(failures: Mapping[int, Exception]) -> str:
    newest = max(failures)
    return f"step {newest}: {_first_line(failures[newest])}"
