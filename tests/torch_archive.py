"""Archives as PyTorch saves them, made without it: while one is made its classes are posed."""

import io
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}
TORCH, UTILS = types.ModuleType("torch"), types.ModuleType("torch._utils")
KINDS = {dtype: type(name, (), {"__module__": "torch"}) for dtype, name in STORAGES.items()}


def _rebuild_tensor_v2(*args):
    raise AssertionError("only named")


_rebuild_tensor_v2.__module__ = "torch._utils"
vars(TORCH).update({kind.__name__: kind for kind in KINDS.values()})
vars(UTILS).update({"_rebuild_tensor_v2": _rebuild_tensor_v2})


class Storage:
    def __init__(self, key: str, array: np.ndarray) -> None:
        self.pid = ("storage", KINDS[array.dtype.name], key, "cpu", array.size)


class Pickler(pickle.Pickler):
    """Arrays become tensors, whose numbers are kept apart."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=2)
        self.arrays: list[np.ndarray] = []

    def persistent_id(self, value: Any) -> Any:
        return value.pid if isinstance(value, Storage) else None

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return NotImplemented
        storage = Storage(str(len(self.arrays)), value)
        self.arrays.append(value)
        strides = tuple(s // value.itemsize for s in value.strides)
        return _rebuild_tensor_v2, (storage, 0, value.shape, strides, False, {})


def archive(saved: Any, change: Callable[[bytes], bytes] = lambda pickled: pickled) -> bytes:
    """Of nested dictionaries and lists with arrays. change: of its pickle."""
    file, whole = io.BytesIO(), io.BytesIO()
    pickler = Pickler(file)
    with mock.patch.dict(sys.modules, {"torch": TORCH, "torch._utils": UTILS}):
        pickler.dump(saved)
    with zipfile.ZipFile(whole, "w") as zipped:
        zipped.writestr("net/data.pkl", change(file.getvalue()))
        for i, array in enumerate(pickler.arrays):
            zipped.writestr(f"net/data/{i}", array.tobytes())
    return whole.getvalue()
