"""Converts the weights of the original FID's Inception network for metrics/inception.py.

    python -m tools.convert_inception pt_inception-2015-12-05-6726825d.pth

The argument is the state dict that pytorch-fid publishes (its release `fid_weights`), and that
torch-fidelity publishes as weights-inception-2015-12-05-6726825d.pth. Its SHA-256 is compared with
that of the published file; one with another is converted all the same, and reports say so. PyTorch
is not needed (tools/torch_file.py). The result, float32, lies where evaluations look for it, unless
another place is given.
"""

from pathlib import Path

import numpy as np

from metrics.inception import NAME, PUBLISHED
from tools.conversion import Converted, Folded, Params, Tensors, command, converted

EPSILON = 1e-3


def convert(tensors: Tensors) -> Params:
    """Parameters of `metrics.inception` by their path, from tensors by their name."""
    folded, end = Folded(tensors, EPSILON), ".conv.weight"
    for name in tensors:
        if name.endswith(end):
            layer = name.removesuffix(end)
            folded.fold(layer.replace(".", "_"), f"{layer}.conv", f"{layer}.bn")
    folded.dense("fc", "fc")
    return folded.params


def read(path: Path) -> Converted:
    """The converted parameters; StorageError where the file is not such a state dict."""
    return converted(path, NAME, convert)


def main() -> None:
    """The command line."""
    found = command(__doc__, NAME, read, "the .pth file", np.float32)
    said = "as published" if found.source.hex() == PUBLISHED else "not the published file's"
    print(f"SHA-256 of the state dict {found.source.hex()}: {said}")


if __name__ == "__main__":
    main()
