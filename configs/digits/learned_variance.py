r"""Learned variances by the hybrid loss (Nichol & Dhariwal 2021) on the digits, VP.

The noise is predicted and the digits are not dequantised, as there; else it is vp_small.py.
Command: python main.py --config configs/digits/learned_variance.py \
    --workdir runs/digits_variance --mode train
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.digits.vp_small import get_config as small


def get_config() -> ConfigDict:
    config = small()
    config.parameterization.update({"output": "noise", "learned_variance": True})
    config.loss.weighting = "noise"
    config.data.dequantize = False
    config.sampling.variance = "learned"
    return config
