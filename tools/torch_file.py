"""Reads what PyTorch saves (.pth, .pt, .bin) as arrays, without PyTorch.

Both formats are read: pickles one after another, before PyTorch 1.6, and the zip archive of later
ones. A tensor is read when it is asked for, and nothing in a file is executed (`safe_pickle`).
"""

import dataclasses
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from tools import safe_pickle
from tools.safe_pickle import File, Plain, record_of

# What a damaged or hostile file makes of a reader, as far as it is the file's fault.
MALFORMED = (
    OSError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, EOFError, ValueError,
    TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError, RecursionError,
    NotImplementedError, RuntimeError, struct.error,
)  # fmt: skip
STORAGES: dict[str, Any] = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
DIGITS = {"f2": "e", "f4": "f", "f8": "d", "i4": "i", "i8": "q", "b1": "?"}  # numpy's, struct's


@dataclasses.dataclass(eq=False)
class Storage:
    """Numbers of a file; `read` gives them all."""

    dtype: np.dtype
    read: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage, as the file describes it; `array` checks and reads it."""

    storage: Storage
    offset: Any
    shape: Sequence[Any]
    strides: Sequence[Any]

    def array(self) -> np.ndarray:
        """The numbers; ValueError unless all of them lie within the storage."""
        return _view(self.storage.read(), self.offset, self.shape, self.strides)


def _unread() -> np.ndarray:
    raise ValueError("a tensor's numbers are not in the file")


class Tensors:
    """What the names in a file of PyTorch stand for, and the storages that it refers to."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}

    def known(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return np.dtype(STORAGES[name])
        return NAMES[module, name]

    def persistent(self, pid: Any) -> Storage:
        _, dtype, key, *_ = pid
        return self.storages.setdefault(key, Storage(np.dtype(dtype), _unread))


class _Scalar:
    """The type of a number of numpy's, whose details a file sets afterwards."""

    def __init__(self, text: str, *_: Any) -> None:
        self.text = text

    def __setstate__(self, state: Any) -> None:
        pass


def _tensor(storage: Storage, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _encode(text: str, encoding: str) -> bytes:
    return text.encode({"latin1": "latin1", "latin-1": "latin1"}[encoding])


NAMES: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Plain,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch", "Size"): tuple,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Scalar,
    ("numpy", "ndarray"): record_of("ndarray"),  # beside tensors, such as a generator's state
    ("numpy._core.multiarray", "_reconstruct"): record_of("ndarray"),
    ("numpy.core.multiarray", "_reconstruct"): record_of("ndarray"),
    ("torch", "device"): record_of("device"),
    ("numpy._core.multiarray", "scalar"): lambda kind, value: _number(kind, value),
    ("numpy.core.multiarray", "scalar"): lambda kind, value: _number(kind, value),
}


def _number(kind: _Scalar, value: bytes) -> Any:
    return struct.unpack(f"<{DIGITS[kind.text]}", value)[0]


def read(file: File) -> Any:
    """The object that was saved: dictionaries, lists, numbers and `Tensor`s, which read the file
    when they are asked for their numbers. Raises one of MALFORMED."""
    begin = file.tell()
    archive = zipfile.is_zipfile(file)
    file.seek(begin)
    return (_read_archive if archive else read_legacy)(file)


def read_state_dict(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a state dict by name. Raises one of MALFORMED."""
    found = {}
    for name, tensor in read(io.BytesIO(content)).items():
        try:
            found[name] = tensor.array()
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return found


def read_legacy(file: File) -> Any:
    """Five pickles (magic number, protocol, system, object, storage keys), then for each key the
    number of elements as int64 and the elements."""
    tensors = Tensors()
    for _ in range(3):
        safe_pickle.load(file, tensors.known)
    saved = safe_pickle.load(file, tensors.known, tensors.persistent)
    keys = safe_pickle.load(file, tensors.known)
    end = _size(file)
    for key in keys:
        storage = tensors.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        place, size = file.tell(), count * storage.dtype.itemsize
        if not 0 <= size <= end - place:
            raise ValueError(f"a storage of {count} numbers is longer than the file")
        storage.read = _Region(file, place, size, storage.dtype)
        file.seek(place + size)
    return saved


@dataclasses.dataclass(frozen=True)
class _Region:
    """Numbers of a file from a place on."""

    file: File
    place: int
    size: int
    dtype: np.dtype

    def __call__(self) -> np.ndarray:
        self.file.seek(self.place)
        return np.frombuffer(self.file.read(self.size), self.dtype)


def _size(file: File) -> int:
    """The length of a file, which stays where it stands."""
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end


def _read_archive(file: File) -> Any:
    """A zip archive with `NAME/data.pkl`, the object, and `NAME/data/KEY`, the storages."""
    archive = zipfile.ZipFile(file)
    members, size = archive.infolist(), _size(file)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its archive is compressed, as PyTorch's are not")
    unfolded = sum(member.file_size for member in members)
    if unfolded > size:
        raise ValueError(f"it unfolds to {unfolded:,} bytes, expected at most its own {size:,}")
    pickled = [name for name in archive.namelist() if name.endswith("data.pkl")]
    if len(pickled) != 1:
        raise ValueError("it is an archive without an object of PyTorch")
    tensors, folder = Tensors(), pickled[0].removesuffix(".pkl")
    saved = safe_pickle.load(
        io.BytesIO(archive.read(pickled[0])), tensors.known, tensors.persistent
    )
    for key, storage in tensors.storages.items():
        storage.read = _Member(archive, f"{folder}/{key}", storage.dtype)
    return saved


@dataclasses.dataclass(frozen=True)
class _Member:
    """Numbers that are one member of an archive."""

    archive: zipfile.ZipFile
    name: str
    dtype: np.dtype

    def __call__(self) -> np.ndarray:
        return np.frombuffer(self.archive.read(self.name), self.dtype)


def _view(
    storage: np.ndarray, offset: Any, shape: Sequence[Any], strides: Sequence[Any]
) -> np.ndarray:
    """The tensor that a file describes, which need not tell the truth: ValueError unless all of it
    lies within its storage."""
    numbers = (offset, *shape, *strides)
    sound = all(type(n) is int and n >= 0 for n in numbers) and len(shape) == len(strides)
    reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=sound)) if sound else 0
    end = offset + reach + 1 if sound and 0 not in shape else 0
    if not sound or end > len(storage) or np.prod(shape, dtype=object) > len(storage):
        raise ValueError(
            f"of shape {shape} and strides {strides}, from {offset} on, is not within its "
            f"storage of {len(storage)} numbers"
        )
    bytewise = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, bytewise, writeable=False)
