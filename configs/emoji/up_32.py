"""The last stage of a cascade on the embedded emoji: an upsampler from 16x16 to 32x32, VP.

It is conditioned on the means over squares of 2x2 pixels, with noise of a level in [0, 0.5].
Command: python main.py --config configs/emoji/up_32.py --workdir runs/emoji_up_32 --mode train
Took: 62 minutes for 3,000 steps on a 2-core EPYC VM that did other work beside it; up to step 1,600
the learning rate fell as for 4,000 steps.
Result: the last stage of pretrained/emoji_*.npz; docs/gallery.md has its pictures and figures.
"""

from ml_collections import ConfigDict

from configs.emoji.up_16 import get_config as up_16


def get_config() -> ConfigDict:
    config = up_16()
    config.conditions.low.size = 16
    config.data.image_size = (32, 32)
    config.model.nf = 32
    config.model.patch_size = 2
    config.training.steps = 3_000
    return config
