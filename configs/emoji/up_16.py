"""The second stage of a cascade on the embedded emoji: an upsampler from 8x8 to 16x16, VP.

It is conditioned on the means over squares of 2x2 pixels, with noise of a level in [0, 0.5].
Command: python main.py --config configs/emoji/up_16.py --workdir runs/emoji_up_16 --mode train
Took: 32 minutes for 1,200 steps on a 2-core EPYC VM that did other work beside it; up to about step
350 the learning rate fell as for 2,000 steps.
Result: the second stage of pretrained/emoji_*.npz; docs/gallery.md has its pictures and figures.
"""

from ml_collections import ConfigDict

from configs.emoji.base_8 import get_config as base


def get_config() -> ConfigDict:
    config = base()
    config.conditions.low = {"size": 8, "max_level": 0.5}
    config.data.image_size = (16, 16)
    config.data.random_flip = True
    config.model.attn_resolutions = (8,)
    config.training.steps = 1_200
    return config
