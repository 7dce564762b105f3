r"""A text-image judge of noisy emoji and their names: to guide by, and to measure captioned models.

An image network as that of configs/emoji/classifier.py, of a size that a CPU trains, with vectors
of 128 in place of classes, beside MiniLM's vectors of the name.
Command: python main.py --config configs/emoji/judge.py --workdir runs/emoji_judge --mode train
Result: not yet run; at 8 x 8 pixels, with the flags of docs/captions.md, 5.3 % +- 0.8 of 760
held-out emoji have their own caption for the likeliest of 228, and 20 % +- 2 among the first five.
"""

from ml_collections import ConfigDict

from configs.emoji.captions import get_config as captions
from configs.emoji.classifier import get_config as classifier


def get_config() -> ConfigDict:
    config, captioned = classifier(), captions()
    config.task = "matching"
    config.data.source = captioned.data.source
    config.data.augment = 0.0
    config.conditions = {"caption": {"features": 384}}
    config.captions = captioned.captions
    config.model.update({"num_classes": 128, "nf": 32, "ch_mult": (1, 2, 4), "patch_size": 2})
    config.loss = {"times": config.loss.times}
    config.training.steps = 1_500
    config.training.batch_size = 128
    config.training.microbatch = "128"
    config.eval = {}
    return config
