"""Likelihood weighting at importance-sampled times (Song et al. 2021b) on the digits, VP.

Else it is vp_small.py.
Command: python main.py --config configs/digits/likelihood.py --workdir runs/digits_ml --mode train
Result of 1,000 steps (--config.training.steps=1000, on a 2-core EPYC VM that did other work
beside it) and `--mode eval`: 3.18 +- 0.05 bits/dim on 64 held-out digits; of 300 samples of 101
evaluations 22 % +- 2 are legible as the class asked for, FID 9.7 with the digits extractor
(held-out digits 0.33). The whole run: not yet run.
"""

from ml_collections import ConfigDict

from configs.digits.vp_small import get_config as small


def get_config() -> ConfigDict:
    config = small()
    config.loss.weighting = "likelihood"
    config.loss.times = "likelihood"
    return config
