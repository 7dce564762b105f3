"""What a file or a folder of somebody's holds, as data: dictionaries, numbers and arrays.

Which format it is, its first bytes say, not its name. Nothing in a file is executed.
"""

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import serialization

from options.errors import StorageError, UserError
from options.project import extra, nearest
from tools import torch_file
from tools.published import edm_pickle
from tools.safe_pickle import File
from tools.torch_file import MALFORMED, Tensor

NUMBERS = "fiub"  # kinds of numpy's types
LONGEST_HEADER = 2**26  # bytes of JSON at the head of a safetensors file
# First bytes of what is often found in place of weights.
STRANGERS = {
    b"version https://git-lfs": "a pointer of Git LFS in place of the file itself",
    b"<": "a page of the web in place of the file",
    b"\x89HDF": "an HDF5 file, as Keras and TensorFlow write them",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"\x93NUMPY": "one array of numpy's",
}


@dataclasses.dataclass(frozen=True)
class Content:
    """What was found.

    Attributes:
      path: the file, or the folder.
      tree: what was saved in the file.
      beside: JSON files of the folder by name, {"config.json": {...}}.
      note: text that the file itself has beside its tensors.
    """

    path: Path
    tree: Any
    beside: Mapping[str, Any]
    note: Mapping[str, str]

    @property
    def keys(self) -> frozenset[str]:
        """Names at the top of the tree."""
        return frozenset(self.tree) if type(self.tree) in (dict, torch_file.Plain) else frozenset()


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Content]:
    """What a file or a folder holds; its tensors can be read inside.

    Raises:
      StorageError: there is none, or it is damaged or of a format that is not known.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise StorageError("file", str(path), f"a file or folder{nearest(path)}", "there is none")
    beside: dict[str, Any] = {}
    if path.is_dir():
        path, beside = _in_folder(path)
    elif (path.parent / CONFIG).is_file() and path.name in WEIGHTS:
        _, beside = _in_folder(path.parent)
    with path.open("rb") as file:
        try:
            tree, note = _decode(path, file)
        except MALFORMED as error:
            but = f"{path} cannot be read: {error or type(error).__name__}"
            raise StorageError("file", but=but) from None
        try:
            yield Content(path, tree, beside, note)
        except UserError:
            raise
        except (
            *MALFORMED,
            StopIteration,
        ) as error:  # it says what it has not
            but = f"{path} is not what it seems: {error or type(error).__name__}"
            raise StorageError("file", but=but) from None


CONFIG, SCHEDULER = "config.json", "scheduler_config.json"
WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)


def _in_folder(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The weights of a folder of diffusers or transformers, and the JSON files beside them."""
    network = folder / "unet" if (folder / "unet" / CONFIG).is_file() else folder
    places = {
        "config.json": [network],
        SCHEDULER: [folder, folder / "scheduler", network, network.parent / "scheduler"],
        "model_index.json": [folder, network.parent],
    }
    beside = {}
    for name, folders in places.items():
        found = next((place / name for place in folders if (place / name).is_file()), None)
        if found is not None:
            beside[name] = json_object(found)
    weights = next((network / name for name in WEIGHTS if (network / name).is_file()), None)
    if CONFIG not in beside or weights is None:
        expected = f"a folder with {CONFIG} and {' or '.join(WEIGHTS)}, or one whose unet/ has them"
        raise StorageError("file", str(folder), expected)
    return weights, beside


def json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; StorageError where there is none."""
    try:
        found = json.loads(path.read_text())
        if type(found) is not dict:
            raise ValueError(f"it is {type(found).__name__}, expected an object")
        return found
    except (ValueError, RecursionError) as error:
        raise StorageError("file", but=f"{path} cannot be read: {error}") from None


def _decode(path: Path, file: File) -> tuple[Any, Mapping[str, str]]:
    head = file.read(64)
    file.seek(0)
    for begin, what in STRANGERS.items():
        if head.startswith(begin):
            raise ValueError(f"it is {what}")
    for recognises, read in FORMATS:
        if recognises(head):
            return read(path, file)
    raise ValueError(
        f"it begins with {head[:8]!r}, expected a file of PyTorch, flax, diffusers or EDM"
    )


def _is_zip(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04")


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= LONGEST_HEADER


def _is_map(head: bytes) -> bool:
    """A dictionary of up to 15 entries, as msgpack begins one, whose first key is text."""
    return len(head) > 1 and 0x81 <= head[0] <= 0x8F and head[1] >= 0xA0


def _read_zip(path: Path, file: File) -> tuple[Any, Mapping[str, str]]:
    with zipfile.ZipFile(file) as archive:
        if any(name.endswith(".npy") for name in archive.namelist()):
            raise ValueError("it is arrays of numpy's; weights of this project need no import")
    file.seek(0)
    return torch_file.read(file), {}


def _read_pickle(path: Path, file: File) -> tuple[Any, Mapping[str, str]]:
    return edm_pickle.read(file), {}


def _read_safetensors(path: Path, file: File) -> tuple[Any, Mapping[str, str]]:
    with extra("formats"):
        import safetensors
    try:
        with safetensors.safe_open(str(path), framework="np") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}
            return arrays, opened.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from None


def _read_msgpack(path: Path, file: File) -> tuple[Any, Mapping[str, str]]:
    return serialization.msgpack_restore(file.read()), {}


Reader = Callable[[Path, File], tuple[Any, Mapping[str, str]]]
FORMATS: list[tuple[Callable[[bytes], bool], Reader]] = [
    (_is_zip, _read_zip),
    (_is_safetensors, _read_safetensors),
    (_is_pickle, _read_pickle),
    (_is_map, _read_msgpack),
]


def array_of(value: Any) -> np.ndarray:
    """The numbers of a tensor of a file, or of an array; ValueError where they are none."""
    array = value.array() if type(value) is Tensor else np.asarray(value)
    if array.dtype.kind not in NUMBERS and array.dtype != jnp.bfloat16:
        raise ValueError(f"a tensor is of {array.dtype}, not of numbers")
    return array


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dictionaries by path, "Dense_0/kernel"."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if type(value) is dict:
            found |= flat(value, f"{prefix}{name}/")
        else:
            found[f"{prefix}{name}"] = value
    return found
