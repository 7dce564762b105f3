r"""The autoencoder of latent diffusion on the embedded emoji, 32 x 32 to latents of 8 x 8 x 4.

Under a small KL penalty, with the features of the shipped classifier of emoji as its perceptual
distance; for a GPU. What a CPU can train is configs/emoji/autoencoder_small.py.
Command: python main.py --config configs/emoji/autoencoder.py --workdir runs/emoji_autoencoder \
    --mode train
    python -m tools.export_weights --workdir runs/emoji_autoencoder --out runs/emoji_latents.npz
Larger emoji, by `make emoji`: --config.data.source=npz, its path, --config.data.image_size=(64,64),
--config.loss.perceptual=none, or an extractor, since that classifier is of 32 x 32.
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.emoji.autoencoder_small import get_config as small


def get_config() -> ConfigDict:
    config = small()
    config.model.widths = (64, 128, 128)
    config.model.num_res_blocks = 2
    config.model.groups = 32
    config.model.attention = True
    config.loss = {"perceptual": {"name": "classifier", "weights": "emoji_classifier"}}
    config.loss.perceptual_weight = 0.1
    config.optim = {"lr": 5e-4, "warmup": 500, "decay": "cosine"}
    config.ema = {"decay": 0.999, "warmup": True}
    config.training.update({"steps": 10_000, "batch_size": 128, "microbatch": "128"})
    config.training.update({"checkpoint_every": 5000, "draw_every": 5000, "evaluate_every": 1000})
    return config
