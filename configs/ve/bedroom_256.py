r"""LSUN bedroom, 256 px, VE (65.6 M parameters).

Command: python main.py --config configs/ve/bedroom_256.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.high_resolution import get_high_resolution_config


def get_config() -> ConfigDict:
    config = get_high_resolution_config(256, sigma_max=378.0)
    return config
