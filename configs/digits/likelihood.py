"""Likelihood weighting at importance-sampled times (Song et al. 2021b) on the digits, VP.

Else it is vp_small.py.
Command: python main.py --config configs/digits/likelihood.py --workdir runs/digits_ml --mode train
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.digits.vp_small import get_config as small


def get_config() -> ConfigDict:
    config = small()
    config.loss.update({"weighting": "likelihood", "times": "likelihood"})
    return config
