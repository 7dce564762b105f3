r"""The second stage of a cascade on the embedded emoji: an upsampler from 8x8 to 16x16, VP.

It is conditioned on the means over squares of 2x2 pixels, with noise of a level in [0, 0.5].
Command: python main.py --config configs/emoji/up_16.py --workdir runs/emoji_up_16 --mode train \
    --config.precision.training=bfloat16 --config.training.n_jitted_steps=20 \
    --config.training.log_every=500
Took: 167 seconds and compilation for 16,020 steps on one NVIDIA H200, which trained other models
beside it; configs/emoji/base_8.py says how what was run differs from this command.
Result: the second stage of pretrained/emoji_*.npz; loss 0.0509 +- 0.0013 on 760 held-out emoji,
0.0424 +- 0.0010 on as many of those it was trained on. docs/gallery.md has its pictures.
"""

from ml_collections import ConfigDict

from configs.emoji.base_8 import get_config as base


def get_config() -> ConfigDict:
    config = base()
    config.conditions.low = {"size": 8, "max_level": 0.5}
    config.data.image_size = (16, 16)
    config.data.augment = 0.0
    config.data.random_flip = True
    config.model.attn_resolutions = (8,)
    config.training.steps = 16_020
    return config
