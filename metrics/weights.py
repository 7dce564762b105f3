"""Weights of feature networks as files: arrays named by their path, with a version.

What a file was made of, if it was converted, is kept beside the arrays as a SHA-256.
"""

import hashlib
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from options.errors import InvalidValue, Words
from storage import npz
from storage.files import atomic_write

SOURCE = "source_sha256"  # no network has a parameter of that name


def write_weights(path: Path, params: dict, dtype: Any = np.float16, source: bytes = b"") -> None:
    """Parameters as a compressed npz of arrays named by their path, whole or not at all.

    source: SHA-256 of the file that they were made of, kept with them.
    """
    arrays = {
        name: np.asarray(value, dtype) for name, value in flatten_dict(params, sep="/").items()
    }
    if source:
        arrays[SOURCE] = np.frombuffer(source, np.uint8)
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def source_of(path: Path) -> str:
    """The SHA-256 that `write_weights` kept, hexadecimal; "" where there is none."""
    with np.load(path, allow_pickle=False) as file:
        return bytes(file[SOURCE]).hex() if SOURCE in file.files else ""


def read_weights(path: Path, network: nn.Module, image: tuple[int, ...]) -> tuple[dict, str]:
    """Parameters as float32, and their version: the first digits of their SHA-256.

    Of the arrays, not of the file, which holds the time at which it was written. InvalidValue if
    they are not those of the network, which takes images of this shape.
    """
    made = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *image)))
    wanted = {name: leaf.shape for name, leaf in flatten_dict(made["params"], sep="/").items()}
    digest, flat = hashlib.sha256(), {}
    try:
        stated = npz.stand_ins(path)
        stated.pop(SOURCE, None)
        npz.require_numbers(stated)
        found = {name: value.shape for name, value in stated.items()}
        if found != wanted:
            wrong = sorted(set(found.items()) ^ set(wanted.items()))[0]
            got = Words(f"{path} with other parameters, first at {wrong}")
            raise InvalidValue("weights", got, f"those of {type(network).__name__}")
        for name, value in sorted(npz.read(path, wanted).items()):
            digest.update(f"{name} {value.dtype} {value.shape} ".encode() + value.tobytes())
            flat[name] = jnp.asarray(value, jnp.float32)
    except InvalidValue:
        raise
    except npz.UNREADABLE:
        expected = "an .npz file of weights, which can be read"
        raise InvalidValue("weights", str(path), expected) from None
    return unflatten_dict(flat, sep="/"), digest.hexdigest()[:12]
