r"""The cosine schedule, predicting v (Nichol & Dhariwal 2021; Salimans & Ho 2022), on the digits.

Else it is vp_small.py.
Command: python main.py --config configs/digits/cosine_v.py \
    --workdir runs/digits_cosine --mode train
Result of 1,000 steps (--config.training.steps=1000, on a 2-core EPYC VM that did other work
beside it) and `--mode eval`: 3.24 +- 0.06 bits/dim on 64 held-out digits; of 300 samples of 101
evaluations 80 % +- 2 are legible as the class asked for, FID 0.75 with the digits extractor
(held-out digits 0.33). The whole run: not yet run.
"""

from ml_collections import ConfigDict

from configs.digits.vp_small import get_config as small


def get_config() -> ConfigDict:
    config = small()
    config.process = {"name": "cosine"}
    return config
