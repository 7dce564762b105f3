"""Parameters outside a run: one file of averaged weights, and a new run started from an old one."""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from options.errors import InvalidValue, StorageError
from options.project import find, nearest
from storage import checkpoint, json_text, npz
from storage.files import atomic_write
from storage.upgrade import is_part_of, upgrade_parameters

PyTree = Any
_META = "__meta__"
LONGEST_RECORD = 2**24  # bytes


def export_weights(
    path: str | Path, params: PyTree, dtype: Any = "float16", meta: Mapping[str, Any] | None = None
) -> None:
    """Write parameters to one `.npz`, whole or not at all, with a JSON-able record beside them.

    Matrices and kernels are stored as `dtype`; vectors keep their type: they are small, and the
    frequencies of a Fourier embedding do not survive rounding.
    """
    arrays = flatten(params)
    stored: dict[str, Any] = {k: _as_stored(v, dtype) for k, v in arrays.items()}
    assert _META not in stored
    record = json_text.of_config(dict(meta or {}))
    stored[_META] = np.array(json.dumps(record, allow_nan=False))
    with atomic_write(path) as file:
        np.savez_compressed(file, **stored)


def rounded(params: PyTree, dtype: Any) -> PyTree:
    """Parameters as a file of this dtype gives them back, float32 numpy."""
    return jax.tree.map(lambda x: _as_stored(np.asarray(x), dtype).astype(np.float32), params)


def _as_stored(x: np.ndarray, dtype: Any) -> np.ndarray:
    return x.astype(dtype) if x.ndim > 1 else x


def load_weights(path: str | Path, template: PyTree) -> PyTree:
    """The parameters in an exported file, float32, in the structure of a template (arrays or
    shapes); InvalidValue names the first that is missing, unexpected or of another shape."""
    _require_fit(path, template, upgrade_parameters(_shapes(path)))
    return _unflatten(template, _read(path))


def _require_fit(where: Any, template: PyTree, found: Mapping[str, np.ndarray]) -> None:
    report = compare(flatten_shapes(template), found)
    if report.unused or report.initialised:
        raise InvalidValue("weights", but=f"{where} does not fit this network: {report.summary()}")


def load_run(workdir: str | Path, template: PyTree, step: int | None = None) -> tuple[PyTree, int]:
    """The averaged parameters of a run's checkpoint and its step, as `load_weights` gives them.

    step: None for the newest that can be read.
    """
    params, step = checkpoint.load_ema(Path(workdir) / "checkpoints", step)
    found = upgrade_parameters(flatten(params))
    _require_fit(workdir, template, found)
    return _unflatten(template, found), step


def read_meta(path: str | Path) -> dict[str, Any]:
    """The record that was exported with the weights; StorageError where `path` is no such file."""
    record = _stand_ins(path)[_META]
    try:
        if record.nbytes > LONGEST_RECORD:
            raise ValueError(f"its record has {record.nbytes:,} bytes")
        meta = json.loads(str(npz.read(path, [_META])[_META]))
        if type(meta) is not dict:
            raise ValueError(f"its record is {meta!r}")
        return meta
    except npz.UNREADABLE as error:
        raise _unreadable(path, error) from None


def read_step(path: str | Path) -> int:
    """The updates after which the weights were exported; 0 where their record does not say.

    StorageError for anything but a count: reports are written to a folder of that name.
    """
    step = read_meta(path).get("step", 0)
    if type(step) is not int or not 0 <= step < 2**63:
        raise StorageError("weights", str(path), but=f"its step is {step!r}, not a count")
    return step


@dataclass(frozen=True)
class Report:
    """What became of each parameter, by name, when a run started from another's weights.

    loaded: found with the same shape. unused: in the source only, or there with another shape.
    initialised: new ones. Each line of the latter two says why.
    fitting: how many numbers were loaded, of the `total` that the network has.
    """

    loaded: tuple[str, ...]
    unused: tuple[str, ...]
    initialised: tuple[str, ...]
    fitting: int
    total: int

    @property
    def fraction(self) -> str:
        """How much of the network was loaded, for a user."""
        percent = 100 * self.fitting / max(self.total, 1)
        return f"{percent:.3g} % ({self.fitting:,} of {self.total:,} numbers)"

    def summary(self) -> str:
        """Counts, and the names that were unused or newly initialised, up to three of each."""
        parts = [f"{len(self.loaded)} parameters fit, {self.fraction}"]
        for what, names in (("unused", self.unused), ("newly initialised", self.initialised)):
            if names:
                more = ", ..." if len(names) > 3 else ""
                parts.append(f"{len(names)} {what} ({', '.join(names[:3])}{more})")
        return ", ".join(parts)

    def __str__(self) -> str:
        """Every parameter, one a line."""
        rows = {
            "loaded": self.loaded,
            "unused": self.unused,
            "newly initialised": self.initialised,
        }
        return "\n".join(f"{what:>17}  {name}" for what, names in rows.items() for name in names)


def require_source(source: str | Path) -> None:
    """StorageError where `init_from` could read nothing; reads no array."""
    _place(source)


def init_from(params: PyTree, source: str | Path) -> tuple[PyTree, Report]:
    """`params` with every parameter replaced that `source` has under the same name and shape.

    source: an exported `.npz`, a run's workdir or its checkpoint folder (the newest averaged
    parameters are taken).
    """
    shapes, read = _source(source)
    report = compare(flatten_shapes(params), shapes)
    own, arrays = flatten(params), read(report.loaded)
    merged = {name: arrays.get(name, value) for name, value in own.items()}
    return _unflatten(params, merged), report


Read = Callable[[Collection[str]], Mapping[str, np.ndarray]]


def _source(source: str | Path) -> tuple[Mapping[str, np.ndarray], Read]:
    """What an exported `.npz`, a workdir or a checkpoint folder has, and what reads some of it."""
    place = _place(source)
    if place.is_file():
        return upgrade_parameters(_shapes(place)), lambda names: _read(place, names)
    found = upgrade_parameters(flatten(checkpoint.load_ema(place)[0]))
    return found, lambda names: {name: found[name] for name in names}


def _place(source: str | Path) -> Path:
    """The file of weights, or the folder of checkpoints, that `source` is or has."""
    source = find(source)
    if source.is_file():
        require_file(source)
        return source
    for folder in (source / "checkpoints", source):
        if checkpoint.latest_step(folder) is not None:
            return folder
    but = f"{source} is neither exported weights nor a run's folder{nearest(source)}"
    raise StorageError("weights", but=but)


def compare(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, np.ndarray]) -> Report:
    """Which of the `found` parameters serve the `wanted` names and shapes."""
    loaded = [k for k in wanted if k in found and found[k].shape == wanted[k]]
    initialised, unused = [], []
    for k in wanted:
        if k not in found:
            initialised.append(f"{k} {wanted[k]} (not in the source)")
        elif found[k].shape != wanted[k]:
            initialised.append(f"{k} {wanted[k]} (the source's is {found[k].shape})")
    for k in found:
        if k not in wanted:
            unused.append(f"{k} {found[k].shape} (not in this network)")
        elif found[k].shape != wanted[k]:
            unused.append(f"{k} {found[k].shape} (this network's is {wanted[k]})")
    sizes = {name: math.prod(shape) for name, shape in wanted.items()}
    fitting = sum(sizes[name] for name in loaded)
    return Report(tuple(loaded), tuple(unused), tuple(initialised), fitting, sum(sizes.values()))


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


def _read(path: str | Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Parameters by name, float32; all of them, or those of these names."""
    wanted = [k for k in _shapes(path) if names is None or is_part_of(k, names)]
    try:
        arrays = npz.read(path, wanted)
    except npz.UNREADABLE as error:
        raise _unreadable(path, error) from None
    found = upgrade_parameters({k: v.astype(np.float32) for k, v in arrays.items()})
    return found if names is None else {name: found[name] for name in names}


def _shapes(path: str | Path) -> dict[str, np.ndarray]:
    """Stand-ins of the parameters in a file, by the names that it has; StorageError where `path` is
    no exported file."""
    return {k: v for k, v in _stand_ins(path).items() if k != _META}


def _stand_ins(path: str | Path) -> dict[str, np.ndarray]:
    try:
        found = npz.stand_ins(path)
        npz.require_numbers({k: v for k, v in found.items() if k != _META})
    except npz.UNREADABLE as error:
        raise _unreadable(path, error) from None
    if _META not in found:
        but = f"{path} has no record, so it is no file of exported weights"
        raise StorageError("weights", but=but)
    return found


def require_file(path: str | Path) -> None:
    """StorageError where `path` is no file of exported weights."""
    _stand_ins(path)


def _unreadable(path: str | Path, error: Exception) -> StorageError:
    if not Path(path).exists():
        expected = f"a file of exported weights{nearest(path)}"
        return StorageError("weights", str(path), expected, but="there is none")
    if Path(path).is_dir():
        expected = "a file of exported weights; the folder of a run is given as --workdir"
        return StorageError("weights", str(path), expected)
    return StorageError("weights", but=f"{path} cannot be read as exported weights: {error}")
