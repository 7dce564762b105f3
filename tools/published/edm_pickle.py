"""Reads the pickles of EDM (Karras et al. 2022), network.pkl, as data.

Their networks carry the text of the module that made them, which `torch_utils.persistence` would
run. Here it is left where it is: an object is what it was saved with, its class's name, its
constructor's arguments and its tensors.
"""

import io
from collections.abc import Mapping
from typing import Any

from tools import safe_pickle, torch_file
from tools.safe_pickle import File, Plain, Record, record_of
from tools.torch_file import NAMES, Tensors

LEGACY = 0x1950A86A20F9469CFC6C  # the first of the pickles of PyTorch's older format
MODULES = ("torch.nn.modules.",)


def read(file: File) -> Any:
    """The object of a pickle: what EDM saves, or the older format of PyTorch."""
    begin = file.tell()
    first = safe_pickle.load(file, known)
    if first != LEGACY:
        return first
    file.seek(begin)
    return torch_file.read_legacy(file)


def known(module: str, name: str) -> Any:
    """What stands for a name of EDM's pickles; KeyError for one that they have not."""
    if module.startswith(MODULES):
        return record_of(name)
    return OBJECTS[module, name] if (module, name) in OBJECTS else Tensors().known(module, name)


def _network(meta: Mapping[str, Any]) -> Record:
    """What `_reconstruct_persistent_obj` would run the text of `module_src` for."""
    made = record_of(str(meta["class_name"]))()
    made.state = meta["state"]
    return made


def _storage(content: bytes) -> Any:
    return torch_file.read(io.BytesIO(content))


OBJECTS: Mapping[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _network,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("dnnlib.util", "EasyDict"): Plain,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    **NAMES,
}


def tensors_of(module: Record, prefix: str = "") -> dict[str, Any]:
    """Parameters and buffers of a saved network by name, "enc.16x16_conv.weight"."""
    state = module.state
    found = {
        f"{prefix}{name}": tensor
        for kind in ("_parameters", "_buffers")
        for name, tensor in state.get(kind, {}).items()
        if tensor is not None
    }
    for name, inner in state.get("_modules", {}).items():
        if inner is not None:
            found |= tensors_of(inner, f"{prefix}{name}.")
    return found
