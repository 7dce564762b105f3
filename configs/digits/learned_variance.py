r"""Learned variances by the hybrid loss (Nichol & Dhariwal 2021) on the digits, VP.

The noise is predicted and the digits are not dequantised, as there; else it is vp_small.py.
Command: python main.py --config configs/digits/learned_variance.py \
    --workdir runs/digits_variance --mode train
Result of 1,000 steps (--config.training.steps=1000, on a 2-core EPYC VM that did other work
beside it) and `--mode eval`: 3.52 +- 0.06 bits/dim on 64 held-out digits; of 300 samples of 101
evaluations 63 % +- 3 are legible as the class asked for, FID 1.9 with the digits extractor
(held-out digits 0.33). The whole run: not yet run.
"""

from ml_collections import ConfigDict

from configs.digits.vp_small import get_config as small


def get_config() -> ConfigDict:
    config = small()
    config.parameterization.output = "noise"
    config.parameterization.learned_variance = True
    config.loss.weighting = "noise"
    config.data.dequantize = False
    config.sampling.solver.predictor = {"name": "ancestral", "variance": "learned"}
    return config
