"""Files that shipped configurations read and that do not come with the project."""

from pathlib import Path

import jax
import numpy as np

from experiment.latents import LatentCoder
from models import AutoencoderKL


def emoji_autoencoder(folder: Path) -> None:
    """What configs/emoji/latent.py has its latents of, untrained, for commands in `folder`."""
    network = AutoencoderKL(widths=(4, 4, 4), num_res_blocks=1, groups=2, attention=False)
    x = jax.ShapeDtypeStruct((1, 4, 4, 3), np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda s: random.normal(0, 0.1, s.shape).astype(np.float32), shapes)
    LatentCoder(network, params).save(folder / "runs" / "emoji_latents.npz")
