"""What the tools share that convert published weights of feature networks."""

import argparse
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metrics.extractors import made_weights
from metrics.weights import write_weights
from options.choices import did_you_mean_path
from options.errors import StorageError, UserError
from options.program import one_line_errors
from tools.published.content import array_of, opened
from tools.torch_file import MALFORMED, read_state_dict

Tensors = Mapping[str, np.ndarray]
Params = dict[str, np.ndarray]


class Converted(NamedTuple):
    """Parameters of a network of ours by their path, and the SHA-256 of what they were made of."""

    params: Params
    source: bytes


def converted(path: Path, network: str, convert: Callable[[Tensors], Params]) -> Converted:
    """What `convert` makes of the tensors in a file, of PyTorch's or of safetensors; StorageError
    where they are not of that network."""
    try:
        content = path.read_bytes()
        read = READERS.get(path.suffix, _read_torch)
        return Converted(convert(read(path, content)), hashlib.sha256(content).digest())
    except UserError as error:
        raise StorageError("weights", but=str(error)) from None
    except MALFORMED as error:
        but = f"{path} is no state dict of {network}: {error!r}{did_you_mean_path(path)}"
        raise StorageError("weights", but=but) from None


def _read_torch(path: Path, content: bytes) -> Tensors:
    return read_state_dict(content)


def _read_safetensors(path: Path, content: bytes) -> Tensors:
    with opened(path) as found:
        return {name: array_of(value) for name, value in found.tree.items()}


READERS = {".safetensors": _read_safetensors}  # by suffix; all others are of PyTorch


def command(
    doc: str, name: str, read: Callable[[Path], Converted], about: str, dtype: Any = np.float16
) -> Converted:
    """The command line of a tool: reads the file that is named, and writes the weights of `name`.

    about: the file. dtype: of the arrays that are written.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, help=about)
    parser.add_argument(
        "out", type=Path, nargs="?", default=made_weights(name), help="the .npz to write"
    )
    arguments = parser.parse_args()
    with one_line_errors():
        found = read(arguments.weights)
        write_weights(arguments.out, found.params, dtype, found.source)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB")
    return found


@dataclass
class Folded:
    """Parameters by their path in our networks, made layer by layer of a PyTorch state dict.

    tensors: of the state dict. epsilon: of its batch normalisation.
    """

    tensors: Tensors
    epsilon: float
    params: Params = field(default_factory=dict)

    def fold(self, target: str, convolution: str, norm: str) -> None:
        """(x - mean) / sqrt(var + epsilon) * weight + bias after a convolution, as one."""
        part = {name: self.tensors[f"{norm}.{name}"] for name in ("weight", "bias")}
        variance = self.tensors[f"{norm}.running_var"]
        scale = part["weight"] / np.sqrt(variance + self.epsilon)
        kernel = self.tensors[f"{convolution}.weight"].transpose(2, 3, 1, 0) * scale  # OIHW to HWIO
        # A depthwise kernel has one input channel for each output: (k, k, c).
        self.params[f"{target}/kernel"] = kernel[:, :, 0] if "depthwise" in target else kernel
        self.params[f"{target}/bias"] = part["bias"] - self.tensors[f"{norm}.running_mean"] * scale

    def dense(self, target: str, name: str) -> None:
        """A dense layer."""
        self.params[f"{target}/kernel"] = self.tensors[f"{name}.weight"].T
        self.params[f"{target}/bias"] = self.tensors[f"{name}.bias"]
