"""The last stage of a cascade on the embedded emoji: an upsampler from 16x16 to 32x32, VP.

It is told the means over squares of 2x2 pixels, with noise of a level in [0, 0.5].
Command: python main.py --config configs/emoji/up_32.py --workdir runs/emoji_up_32 --mode train
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.emoji.up_16 import get_config as up_16


def get_config() -> ConfigDict:
    config = up_16()
    config.data.update({"image_size": 32, "low_size": 16})
    config.model.update({"nf": 32, "attn_resolutions": (8,)})
    config.training.update({"steps": 4_000})
    return config
