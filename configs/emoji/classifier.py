r"""A classifier of noisy emoji, for guidance of configs/emoji/vp.py: the one that is shipped.

That of the digits, wider and with a third level, dropout and augmentation, of which it is not told.
Command: python main.py --config configs/emoji/classifier.py --workdir runs/emoji_classifier \
    --mode train
Took: 21 minutes for 1,500 steps on a 2-core EPYC VM that did other work beside it.
Result (`--mode eval`, 760 held-out emoji of nine classes, each at 20 noise levels; none of them is
in the training set in any style): 53 to 59 % right up to sigma / alpha = 1 (training emoji 60 to
63 %), 52 % at 1.7, 43 % at 3.1, 35 % at 5.7. The likeliest class alone would be right for 22 %.
"""

from ml_collections import ConfigDict

from configs.digits.classifier import get_config as digits


def get_config() -> ConfigDict:
    config = digits()
    config.data.update(
        {"name": "emoji", "image_size": 32, "num_channels": 3, "num_classes": 9, "augment": 0.12}
    )
    config.model.update({"nf": 48, "stem": 48, "ch_mult": (1, 2, 2), "dropout": 0.1})
    config.training.update({"steps": 1500})
    return config
