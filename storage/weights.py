"""Parameters outside a run: one file of averaged weights, and a new run started from an old one."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from storage import checkpoint
from storage.files import atomic_write

PyTree = Any
_META = "__meta__"
UNREADABLE = (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def export_weights(
    path: str | Path, params: PyTree, dtype: Any = "float16", meta: Mapping[str, Any] | None = None
) -> None:
    """Write parameters to one `.npz`, whole or not at all, with a JSON-able record beside them.

    Matrices and kernels are stored as `dtype`; vectors keep their type: they are small, and the
    frequencies of a Fourier embedding do not survive rounding.
    """
    arrays = flatten(params)
    stored: dict[str, Any] = {k: v.astype(dtype) if v.ndim > 1 else v for k, v in arrays.items()}
    assert _META not in stored
    stored[_META] = np.array(json.dumps(dict(meta or {})))
    with atomic_write(path) as file:
        np.savez_compressed(file, **stored)


def load_weights(path: str | Path, template: PyTree = None) -> PyTree:
    """The parameters in an exported file, float32.

    Without a template, nested dicts; with one (arrays or shapes), its structure, after a check:
    ValueError names the first parameter that is missing, unexpected or of another shape.
    """
    arrays = _read(path)
    if template is None:
        return _nest(arrays)
    report = compare(flatten_shapes(template), arrays)
    if report.dropped or report.made:
        raise ValueError(f"weights: {path} does not fit this network: {report.summary()}")
    return _unflatten(template, arrays)


def read_meta(path: str | Path) -> dict[str, Any]:
    """The record that was exported with the weights; ValueError where `path` is no such file."""
    return json.loads(str(_load(path)[_META]))


@dataclass(frozen=True)
class Report:
    """What became of each parameter, by name, when a run started from another's weights.

    taken: found with the same shape. dropped: in the source only, or there with another shape.
    made: made anew. Each line of the latter two says why.
    """

    taken: tuple[str, ...]
    dropped: tuple[str, ...]
    made: tuple[str, ...]

    def summary(self) -> str:
        """Counts, and the names that were dropped or made anew, up to three of each."""
        parts = [f"{len(self.taken)} parameters fit"]
        for what, names in (("dropped", self.dropped), ("made anew", self.made)):
            if names:
                more = ", ..." if len(names) > 3 else ""
                parts.append(f"{len(names)} {what} ({', '.join(names[:3])}{more})")
        return ", ".join(parts)

    def __str__(self) -> str:
        """Every parameter, one a line."""
        rows = [("taken", self.taken), ("dropped", self.dropped), ("made anew", self.made)]
        return "\n".join(f"{what:>9}  {name}" for what, names in rows for name in names)


def init_from(params: PyTree, source: str | Path) -> tuple[PyTree, Report]:
    """`params` with every parameter replaced that `source` has under the same name and shape.

    source: an exported `.npz`, a run's workdir or its checkpoint folder (the newest averaged
    parameters are taken).
    """
    arrays = read_source(source)
    report = compare(flatten_shapes(params), arrays)
    own = flatten(params)
    merged = {name: arrays[name] if name in report.taken else own[name] for name in own}
    return _unflatten(params, merged), report


def read_source(source: str | Path) -> dict[str, np.ndarray]:
    """Parameters by name from an exported `.npz`, a workdir or a checkpoint folder."""
    source = Path(source)
    if source.is_file():
        return _read(source)
    for folder in (source / "checkpoints", source):
        if checkpoint.latest_step(folder) is not None:
            return flatten(checkpoint.load_ema(folder)[0])
    raise FileNotFoundError(
        f"training.init_from: {source} is neither exported weights nor a run's folder"
    )


def compare(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, np.ndarray]) -> Report:
    """Which of the `found` parameters serve the `wanted` names and shapes."""
    taken = [k for k in wanted if k in found and found[k].shape == wanted[k]]
    made, dropped = [], []
    for k in wanted:
        if k not in found:
            made.append(f"{k} {wanted[k]} (not in the source)")
        elif found[k].shape != wanted[k]:
            made.append(f"{k} {wanted[k]} (the source's is {found[k].shape})")
    for k in found:
        if k not in wanted:
            dropped.append(f"{k} {found[k].shape} (not in this network)")
        elif found[k].shape != wanted[k]:
            dropped.append(f"{k} {found[k].shape} (this network's is {wanted[k]})")
    return Report(tuple(taken), tuple(dropped), tuple(made))


def flatten(params: PyTree) -> dict[str, np.ndarray]:
    """Host arrays by name, "block_0/conv/kernel"."""
    return {_name(path): np.asarray(x) for path, x in _leaves(params)}


def flatten_shapes(params: PyTree) -> dict[str, tuple[int, ...]]:
    """Shapes by name."""
    return {_name(path): tuple(x.shape) for path, x in _leaves(params)}


def _leaves(tree: PyTree) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _unflatten(template: PyTree, arrays: Mapping[str, np.ndarray]) -> PyTree:
    return jax.tree_util.tree_map_with_path(
        lambda path, x: jnp.asarray(arrays[_name(path)], x.dtype), template
    )


def _nest(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in arrays.items():
        *parents, leaf = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = jnp.asarray(value)
    return tree


def _read(path: str | Path) -> dict[str, np.ndarray]:
    return {k: v.astype(np.float32) for k, v in _load(path).items() if k != _META}


def _load(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an exported file, the record too; ValueError where `path` is no such file."""
    try:
        with np.load(path) as file:
            arrays = {k: file[k] for k in file.files}
    except UNREADABLE as error:
        raise ValueError(f"weights: {path} cannot be read as exported weights: {error}") from None
    if _META not in arrays:
        raise ValueError(f"weights: {path} has no record, so it is no file of exported weights")
    return arrays
