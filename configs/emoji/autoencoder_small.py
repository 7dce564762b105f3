r"""An autoencoder of the embedded emoji, 32 x 32 to latents of 8 x 8 x 4, of a size for a CPU.

Command: python main.py --config configs/emoji/autoencoder_small.py \
    --workdir runs/emoji_autoencoder_small --mode train
    python -m tools.export_weights --workdir runs/emoji_autoencoder_small \
    --out runs/emoji_latents.npz
Took: 17 minutes on one core of an AMD EPYC that did other work beside it.
Result, shipped as pretrained/emoji_autoencoder.npz (of 760 held-out emoji): 25.0 +- 0.1 dB, FID of
reconstructions 63 (EfficientNet-Lite0). Small faces lose their features.
"""

from ml_collections import ConfigDict

from configs.default import get_default_config


def get_config() -> ConfigDict:
    config = get_default_config("autoencoder")
    config.model = {
        "name": "kl",
        "latent_channels": 4,
        "widths": (16, 32, 64),
        "num_res_blocks": 1,
        "groups": 8,
        "attention": False,
    }
    config.data = {"source": "emoji", "random_flip": True}
    config.data.image_size = (32, 32)
    config.data.num_channels = 3
    config.optim = {"lr": 2e-3, "warmup": 50, "decay": "cosine"}
    config.ema = {"decay": 0.99, "warmup": True}
    config.training = {
        "steps": 1200,
        "batch_size": 32,
        "microbatch": "32",
        "log_every": 50,
        "checkpoint_every": 300,
        "draw_every": 600,
        "evaluate_every": 600,
    }
    return config
