r"""NCSN++ on the embedded emoji (32x32, colour), VP, conditioned on the characters of their names.

The network of configs/emoji/vp_small.py, with a transformer of characters that is trained along: it
needs no file of a text encoder, and knows no word but those of its training.
Command: python main.py --config configs/emoji/captions_small.py --workdir runs/names --mode train
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.emoji.vp_small import get_config as emoji


def get_config() -> ConfigDict:
    config = emoji()
    config.data.source = {"name": "captions", "replacement": " "}
    config.conditions = {"text": {"dropout": 0.1, "layers": 2, "heads": 4, "pooled": True}}
    return config
