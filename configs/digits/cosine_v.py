r"""The cosine schedule, predicting v (Nichol & Dhariwal 2021; Salimans & Ho 2022), on the digits.

Else it is vp_small.py.
Command: python main.py --config configs/digits/cosine_v.py \
    --workdir runs/digits_cosine --mode train
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.digits.vp_small import get_config as small


def get_config() -> ConfigDict:
    config = small()
    config.process.name = "cosine"
    return config
