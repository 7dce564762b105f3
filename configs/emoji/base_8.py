"""The first stage of a cascade on the embedded emoji: class-conditional NCSN++ at 8x8, VP.

Its images are means over squares of the 32x32 ones, as are those that `up_16` is told.
Command: python main.py --config configs/emoji/base_8.py --workdir runs/emoji_base_8 --mode train
Took: 48 minutes for 5,000 steps on a 2-core EPYC VM that did other work beside it.
Result: the first stage of pretrained/emoji_*.npz; docs/gallery.md has its pictures.
"""

from ml_collections import ConfigDict

from configs.digits.vp import get_config as digits


def get_config() -> ConfigDict:
    config = digits()
    config.data.update({"name": "emoji", "num_channels": 3, "num_classes": 9})
    config.data.update({"image_size": 8, "resize": "box"})
    config.model.update({"nf": 40, "attn_resolutions": (4,), "patch_size": 1})
    config.optim.update({"lr": 2e-3, "decay": "cosine"})
    config.training.update({"steps": 5_000})
    config.sampling.update({"num_samples": 45, "batch_size": 45})
    config.eval.update({"likelihood": False})
    return config
