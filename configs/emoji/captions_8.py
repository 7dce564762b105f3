r"""The first stage of a cascade on the embedded emoji, 8x8, conditioned on their names by MiniLM.

The network of configs/emoji/base_8.py with captions in place of classes, from whose shipped weights
it starts; what it draws, pretrained/emoji_up_16.npz and emoji_up_32.npz enlarge. Of a size that a
CPU trains; configs/emoji/captions.py draws all of 32x32 pixels.
Command: python main.py --config configs/emoji/captions_8.py --workdir runs/captions_8 --mode train
with --config.training.init_from=emoji_base_8, and the text encoder as for captions.py.
Result: after 1,197 of its steps (13 minutes of one core of an AMD EPYC) a judge finds the caption
of a sample among 228 held-out ones as often as that of a real image, docs/captions.md.
"""

from ml_collections import ConfigDict

from configs.emoji.base_8 import get_config as base
from configs.emoji.captions import get_config as captions


def get_config() -> ConfigDict:
    config, captioned = base(), captions()
    config.data.source = captioned.data.source
    config.data.augment = 0.0
    config.conditions = captioned.conditions
    config.captions = captioned.captions
    config.optim = {"lr": 5e-4, "warmup": 50}
    config.training.steps = 3_000
    config.training.batch_size = 64
    config.training.microbatch = "64"
    config.sampling.solver = "dpm"
    config.sampling.grid = "log_snr"
    config.sampling.num_steps = 25
    config.eval = captioned.eval
    return config
