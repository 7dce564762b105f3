r"""The last stage of a cascade on the embedded emoji: an upsampler from 16x16 to 32x32, VP.

It is conditioned on the means over squares of 2x2 pixels, with noise of a level in [0, 0.5].
Command: python main.py --config configs/emoji/up_32.py --workdir runs/emoji_up_32 --mode train \
    --config.precision.training=bfloat16 --config.training.n_jitted_steps=20 \
    --config.training.log_every=500
Took: 189 seconds and compilation for 10,180 steps on one NVIDIA H200, which trained other models
beside it; configs/emoji/base_8.py says how what was run differs from this command.
Result: the last stage of pretrained/emoji_*.npz; loss 0.0348 +- 0.0013 on 760 held-out emoji,
0.0307 +- 0.0011 on as many of those it was trained on. docs/gallery.md has its pictures.
"""

from ml_collections import ConfigDict

from configs.emoji.up_16 import get_config as up_16


def get_config() -> ConfigDict:
    config = up_16()
    config.conditions.low.size = 16
    config.data.image_size = (32, 32)
    config.model.nf = 32
    config.model.ch_mult = (1, 2, 3)
    config.training.steps = 10_180
    return config
