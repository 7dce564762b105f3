r"""Latent diffusion on the embedded emoji: class-conditional NCSN++ of latents of 8 x 8 x 4, VP.

The latents are those of the shipped autoencoder, pretrained/emoji_autoencoder.npz, as
configs/emoji/autoencoder_small.py trains it. They are encoded once, and kept in the user's cache.
Command: python main.py --config configs/emoji/latent.py --workdir runs/emoji_latent --mode train
Of another autoencoder: --config.data.space.weights=runs/mine.npz
Took: 58 minutes on one core of an AMD EPYC, encoding and compilation among them.
Result, shipped as pretrained/emoji_latent.npz (1,000 samples of 26 evaluations, unguided): FID 96.4
by EfficientNet-Lite0, of held-out emoji 29.0; held-out loss 0.413 +- 0.009.
"""

from ml_collections import ConfigDict

from configs.emoji.vp import get_config as pixels


def get_config() -> ConfigDict:
    config = pixels()
    config.data.space = {"name": "latents", "weights": "emoji_autoencoder"}
    config.data.dequantize = False
    config.data.random_flip = True
    config.model.ch_mult = (1, 2)
    config.model.attn_resolutions = (8, 4)
    config.optim = {"lr": 1e-3, "warmup": 200, "decay": "cosine"}
    config.ema = {"decay": 0.998, "warmup": True}
    config.precision = {"training": "float32"}
    config.training.update({"steps": 5_000, "batch_size": 64, "microbatch": "64"})
    config.training.update({"n_jitted_steps": 5, "log_every": 100, "checkpoint_every": 500})
    return config
