r"""NCSN++ on the embedded emoji (32x32, colour), VP, conditioned on their names by MiniLM.

The network of configs/emoji/vp.py, without classes: vectors of a frozen text encoder are attended
to at the two coarser resolutions, 16x16 and 8x8, and their mean is added to the embedding of the
noise level. So it starts from the shipped weights, whose parameters it has but for the classes.
Command: python main.py --config configs/emoji/captions.py --workdir runs/emoji_captions \
    --mode train
with --config.training.init_from=emoji, and the text encoder before:
    python -m tools.import_text_encoder all-MiniLM-L6-v2 --out runs/minilm.npz
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.emoji.vp import get_config as emoji


def get_config() -> ConfigDict:
    config = emoji()
    config.data.source = {"name": "captions", "replacement": " "}
    config.conditions = {"caption": {"features": 384, "dropout": 0.1, "pooled": True}}
    config.captions = {"encoder": "runs/minilm.npz", "tokens": 16}
    config.eval = {"num_samples": 180, "likelihood": False}
    return config
