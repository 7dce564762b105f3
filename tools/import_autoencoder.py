"""An AutoencoderKL of diffusers as an autoencoder of this project.

    python -m tools.import_autoencoder stable-diffusion/vae --out runs/vae.npz

Reads a folder with config.json and diffusion_pytorch_model.safetensors (or .bin), and writes
network and parameters as one file, which `experiment.latents.LatentCoder.load` takes. Every tensor
is accounted for, nothing in a file is executed, and diffusers is not needed.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from options.choices import require
from options.errors import InvalidValue, StorageError, within
from options.precision import FLOAT32
from options.program import one_line_errors
from options.progress import busy

TOLERANCE = 1e-4  # of the largest value


def import_autoencoder(
    source: str | Path, out: str | Path, dtype: str = "float32", expected: str = ""
) -> list[str]:
    """Writes the autoencoder, whole or not at all; what there is to say of it, a line each.

    Raises:
      UserError: the folder lacks a file, its network is none as ours, its parameters do not fit, or
        outputs differ from those in `expected` (.npz).
    """
    from experiment.latents import LatentCoder
    from models.importers import diffusers_autoencoder as layout
    from tools.import_checkpoint import recorded
    from tools.published.content import CONFIG, array_of, opened

    with busy("reading the folder"), opened(source) as content:
        config = content.beside.get(CONFIG, {})
        if config.get("_class_name") not in {layout.CLASS}:
            raise StorageError("file", str(source), f"a folder of diffusers' {layout.CLASS}")
        with within(CONFIG):
            network, (mean, std) = layout.network_of(config), layout.scaling_of(config)
        arrays = {name: array_of(value) for name, value in content.tree.items()}
        coder = LatentCoder(network, layout.params_from_diffusers(arrays, network), mean, std)
    said = [f"AutoencoderKL of diffusers, {network.latent_channels} channels of latents"]
    for name, error in recorded_errors(coder, recorded(expected)).items() if expected else ():
        said.append(f"{name} differs by {error:.2g} of the largest value, {TOLERANCE:g} allowed")
        if not error <= TOLERANCE:
            raise InvalidValue("file", but=said[-1])
    coder.save(out, dtype)
    return said


def recorded_errors(coder: Any, given: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How far mean and logvar of the images `x`, and the image that the mean is decoded to
    (`decoded_mean`), are from those recorded, relative to the largest value. All are NCHW."""
    from tools.published.checkpoint import Compared, one_of

    x = jnp.asarray(np.moveaxis(one_of(given, "x"), 1, -1))
    variables = {"params": coder.params}
    with FLOAT32.context():
        latents = coder.network.apply(variables, x, method="encode")
        decoded = coder.network.apply(variables, latents.mean, method="decode")
    ours = {"mean": latents.mean, "logvar": latents.logvar, "decoded_mean": decoded}
    found = {
        name: Compared(name, np.moveaxis(np.asarray(value), -1, 1), given[name]).error
        for name, value in ours.items()
        if name in given
    }
    require(found, "expected", sorted(given), f"an entry of {sorted(ours)}")
    return found


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="a folder of diffusers")
    parser.add_argument("--out", type=Path, required=True, help="the file to write (.npz)")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float32")
    parser.add_argument("--expected", default="", help="recorded inputs and outputs (.npz)")
    args = parser.parse_args(argv)
    with one_line_errors():
        require(args.out.suffix == ".npz", "out", str(args.out), "a name that ends in .npz")
        for line in import_autoencoder(args.source, args.out, args.dtype, args.expected):
            print(line)
        print(f"{args.out}, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
