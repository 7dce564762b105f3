r"""Latent diffusion on the embedded emoji: class-conditional NCSN++ of latents of 8 x 8 x 4, VP.

The latents are those of the shipped autoencoder, pretrained/emoji_autoencoder.npz, as
configs/emoji/autoencoder_small.py trains it. They are encoded once, and kept in the user's cache.
Command: python main.py --config configs/emoji/latent.py --workdir runs/emoji_latent --mode train
Of another autoencoder: --config.data.space.weights=runs/mine.npz
Pixels and latents at equal time: that command and configs/emoji/vp.py, both with
--config.training.max_seconds=300, and --mode eval of both runs.
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.emoji.vp import get_config as pixels


def get_config() -> ConfigDict:
    config = pixels()
    config.data.space = {"name": "latents", "weights": "emoji_autoencoder"}
    config.data.dequantize = False
    config.data.random_flip = True
    config.model.nf = 96
    config.model.ch_mult = (1, 2)
    config.model.attn_resolutions = (8, 4)
    return config
