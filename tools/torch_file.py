"""Reads the tensors of a PyTorch state dict (.pth, .pt) as arrays, without PyTorch.

A restricted unpickler builds arrays and nothing else, so nothing in a file is executed. Both
formats are read: pickles one after another, before PyTorch 1.6, and the zip archive of later ones.
"""

import collections
import io
import pickle
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# What a damaged or hostile file makes of a reader, as far as it is the file's fault.
MALFORMED = (
    OSError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, EOFError, ValueError,
    TypeError, KeyError, IndexError, AttributeError,
)  # fmt: skip
LARGEST = 2**27  # bytes that an archive may unfold to; published weights here are 9 to 19 MB
STORAGES = {"FloatStorage": np.float32, "HalfStorage": np.float16, "LongStorage": np.int64}


class _Tensors(pickle.Unpickler):
    """Unpickles a state dict; tensors are left as (storage key, offset, shape, strides)."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.types: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"got {module}.{name}, expected a state dict of tensors")

    def persistent_load(self, pid: Any) -> str:
        _, dtype, key, *_ = pid
        self.types[key] = dtype
        return key


def read_state_dict(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a state dict by name. Raises one of MALFORMED."""
    archive = zipfile.is_zipfile(io.BytesIO(content))
    return (_read_archive if archive else _read_legacy)(content)


def _read_legacy(content: bytes) -> dict[str, np.ndarray]:
    """Five pickles (magic number, protocol, system, object, storage keys), then for each key the
    number of elements as int64 and the elements."""
    file = io.BytesIO(content)
    for _ in range(3):
        _Tensors(file).load()
    unpickler = _Tensors(file)
    tensors = unpickler.load()
    storages = {}
    for key in _Tensors(file).load():
        dtype = np.dtype(unpickler.types[key])
        (count,) = np.frombuffer(file.read(8), np.int64)
        storages[key] = np.frombuffer(file.read(max(count, 0) * dtype.itemsize), dtype)
    return _views(tensors, storages.__getitem__)


def _read_archive(content: bytes) -> dict[str, np.ndarray]:
    """A zip archive with `NAME/data.pkl`, the object, and `NAME/data/KEY`, the storages."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"it unfolds to {size:,} bytes, expected at most {LARGEST:,}")
        (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        unpickler = _Tensors(io.BytesIO(archive.read(pickled)))
        tensors = unpickler.load()
        folder = pickled.removesuffix(".pkl")

        def storage(key: str) -> np.ndarray:
            return np.frombuffer(archive.read(f"{folder}/{key}"), unpickler.types[key])

        return _views(tensors, storage)


def _views(tensors: Any, storage: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: _view(name, storage(key), offset, shape, strides)
        for name, (key, offset, shape, strides) in tensors.items()
    }


def _view(
    name: str, storage: np.ndarray, offset: Any, shape: Sequence[Any], strides: Sequence[Any]
) -> np.ndarray:
    """The tensor that a file describes, which need not tell the truth: ValueError unless all of it
    lies within its storage."""
    numbers = (offset, *shape, *strides)
    sound = all(type(n) is int and n >= 0 for n in numbers) and len(shape) == len(strides)
    reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=sound)) if sound else 0
    end = offset + reach + 1 if sound and 0 not in shape else 0
    if not sound or end > len(storage):
        raise ValueError(
            f"{name} of shape {shape} and strides {strides}, from {offset} on, is not within its "
            f"storage of {len(storage)} numbers"
        )
    bytewise = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, bytewise, writeable=False)
