"""The first stage of a cascade on the embedded emoji: class-conditional NCSN++ at 8x8, VP.

Its images are means over squares of the 32x32 ones, as are those that `up_16` enlarges.
Command: python main.py --config configs/emoji/base_8.py --workdir runs/emoji_base_8 --mode train
Took: 48 minutes for 5,000 steps on a 2-core EPYC VM that did other work beside it.
Result: the first stage of pretrained/emoji_*.npz; docs/gallery.md has its pictures.
"""

from ml_collections import ConfigDict

from configs.emoji.vp import get_config as emoji


def get_config() -> ConfigDict:
    config = emoji()
    config.data.image_size = (8, 8)
    config.data.resize = "box"
    config.model.nf = 40
    config.model.attn_resolutions = (4,)
    config.model.patch_size = 1
    config.optim.lr = 2e-3
    config.optim.decay = "cosine"
    config.training.steps = 5_000
    return config
