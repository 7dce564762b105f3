r"""A classifier of noisy emoji, for guidance of configs/emoji/vp.py: the one that is shipped.

That of the digits, wider and with a third level, dropout and augmentation, of which it is not told.
Command: python main.py --config configs/emoji/classifier.py --workdir runs/emoji_classifier \
    --mode train
Result: not yet run.
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
