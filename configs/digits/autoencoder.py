"""A small autoencoder of the embedded digits, 28 x 28 to latents of 7 x 7 x 2, under a KL penalty.

Command: python main.py --config configs/digits/autoencoder.py --workdir runs/digits_autoencoder \
    --mode train
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.default import get_default_config


def get_config() -> ConfigDict:
    config = get_default_config("autoencoder")
    config.model = {
        "name": "kl",
        "latent_channels": 2,
        "widths": (16, 32, 32),
        "num_res_blocks": 1,
        "groups": 8,
        "attention": False,
    }
    config.loss = {"perceptual": {"name": "extractor", "extractor": "digits"}}
    config.data = {"source": "digits"}
    config.data.image_size = (28, 28)
    config.data.num_channels = 1
    config.optim = {"lr": 2e-3, "warmup": 50, "decay": "cosine"}
    config.ema = {"decay": 0.998, "warmup": True}
    config.training = {
        "steps": 1000,
        "batch_size": 64,
        "microbatch": "64",
        "log_every": 50,
        "checkpoint_every": 500,
        "draw_every": 500,
    }
    return config
