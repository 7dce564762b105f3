"""Class-conditional NCSN++ on the embedded emoji (32x32, colour), VP, of a size that a CPU trains.

The label is hidden from a tenth of the examples, so the network is an unconditional model too.
Command: python main.py --config configs/emoji/vp_small.py --workdir runs/emoji_small --mode train
Took: 4 hours for 6,000 steps on a 2-core EPYC VM that did other work beside it, for most of them on
one core. configs/emoji/vp.py is larger, was trained on a GPU and is the one shipped.
Result (180 samples of 26 evaluations; the judge is linear on EfficientNet-Lite0's features and
right about 76 % of held-out emoji): 20 % +- 3 are taken for the class asked for, 44 % +- 4 with
classifier-free guidance of scale 3.
"""

from ml_collections import ConfigDict

from configs.digits.vp import get_config as digits


def get_config() -> ConfigDict:
    config = digits()
    config.conditions.labels.num_classes = 9
    config.data.source = "emoji"
    config.data.image_size = (32, 32)
    config.data.num_channels = 3
    config.model.nf = 64
    config.model.attn_resolutions = (8,)
    config.training.steps = 6_000
    config.sampling.num_samples = 45
    config.sampling.batch_size = 45
    config.eval.likelihood = False
    return config
