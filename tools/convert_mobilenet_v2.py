"""Converts torchvision's MobileNetV2 weights for `handwriting.style.mobilenet_v2`.

    python -m tools.convert_mobilenet_v2 mobilenet_v2-b0353104.pth

The argument is the state dict that torchvision publishes, in either version, or one saved of its
`mobilenet_v2`. PyTorch is not needed (tools/torch_file.py). Batch normalisation is folded into the
convolutions. The result, 7 MB, lies where it is looked for, unless another place is given.
"""

from pathlib import Path

from metrics.mobilenet_v2 import NAME, STAGES
from tools.conversion import Converted, Folded, Params, Tensors, command, converted

EPSILON = 1e-5


def convert(tensors: Tensors) -> Params:
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


def read(path: Path) -> Converted:
    """The converted parameters; StorageError where the file is not such a state dict."""
    return converted(path, NAME, convert)


def main() -> None:
    """The command line."""
    command(__doc__, NAME, read, "the .pth file")


if __name__ == "__main__":
    main()
