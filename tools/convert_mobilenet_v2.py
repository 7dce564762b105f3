"""Converts torchvision's MobileNetV2 weights for `handwriting.style.mobilenet_v2`.

    python -m tools.convert_mobilenet_v2 mobilenet_v2-b0353104.pth

The argument is the state dict that torchvision publishes, in either version, or one saved of its
`mobilenet_v2`. PyTorch is not needed (tools/torch_file.py). Batch normalisation is folded into the
convolutions. The result, 7 MB, lies where it is looked for, unless another place is given.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metrics.extractors import made_weights
from metrics.features import write_weights
from metrics.inverted_bottlenecks import Folded
from metrics.mobilenet_v2 import NAME, STAGES
from options.choices import did_you_mean_path
from options.errors import StorageError
from options.program import one_line_errors
from tools.torch_file import MALFORMED, read_state_dict

EPSILON = 1e-5


def convert(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters of `metrics.mobilenet_v2` by their path, from tensors by their name."""
    folded = Folded(tensors, EPSILON)
    folded.fold("stem", "features.0.0", "features.0.1")
    expands = [stage.expand != 1 for stage in STAGES for _ in range(stage.repeats)]
    for i, expand in enumerate(expands):
        block, at = f"features.{i + 1}.conv", 0
        if expand:
            folded.fold(f"block_{i}_expand", f"{block}.0.0", f"{block}.0.1")
            at = 1
        folded.fold(f"block_{i}_depthwise", f"{block}.{at}.0", f"{block}.{at}.1")
        folded.fold(f"block_{i}_project", f"{block}.{at + 1}", f"{block}.{at + 2}")
    last = len(expands) + 1
    folded.fold("head", f"features.{last}.0", f"features.{last}.1")
    folded.dense("classifier", "classifier.1")
    return folded.params


def read(path: Path) -> dict[str, np.ndarray]:
    """The converted parameters; StorageError where the file is not such a state dict."""
    try:
        return convert(read_state_dict(path.read_bytes()))
    except MALFORMED as error:
        but = f"{path} is no state dict of mobilenet_v2: {error!r}{did_you_mean_path(path)}"
        raise StorageError("weights", but=but) from None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, help="the .pth file")
    parser.add_argument(
        "out", type=Path, nargs="?", default=made_weights(NAME), help="the .npz to write"
    )
    arguments = parser.parse_args()
    with one_line_errors():
        write_weights(arguments.out, read(arguments.weights))
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
