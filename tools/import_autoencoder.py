"""An AutoencoderKL of diffusers as an autoencoder of this project.

    python -m tools.import_autoencoder stable-diffusion/vae --out runs/vae.npz

Reads a folder with config.json and diffusion_pytorch_model.safetensors (or .bin), and writes
network and parameters as one file, which `experiment.latents.LatentCoder.load` takes. Every tensor
is accounted for, nothing in a file is executed, and diffusers is not needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from options.choices import require
from options.errors import StorageError, within
from options.precision import FLOAT32
from options.progress import busy
from tools.published.checkpoint import Compared, one_of
from tools.published.parts import agreement, command

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
    said += agreement(compared(coder, recorded(expected)), TOLERANCE) if expected else []
    coder.save(out, dtype)
    return said


def compared(coder: Any, given: Mapping[str, np.ndarray]) -> list[Compared]:
    """Mean and logvar of the images `x`, and the image that the mean is decoded to
    (`decoded_mean`), beside those recorded. All are NCHW."""
    x = jnp.asarray(np.moveaxis(one_of(given, "x"), 1, -1))
    variables = {"params": coder.params}
    with FLOAT32.context():
        latents = coder.network.apply(variables, x, method="encode")
        decoded = coder.network.apply(variables, latents.mean, method="decode")
    ours = {"mean": latents.mean, "logvar": latents.logvar, "decoded_mean": decoded}
    found = [
        Compared(name, np.moveaxis(np.asarray(value), -1, 1), given[name])
        for name, value in ours.items()
        if name in given
    ]
    require(found, "expected", sorted(given), f"an entry of {sorted(ours)}")
    return found


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    command(__doc__, "a folder of diffusers", import_autoencoder, argv)


if __name__ == "__main__":
    main()
