r"""DDPM, LSUN church, 256 px (111.6 M parameters).

Command: python main.py --config configs/vp/church_256.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Published: FID 7.89 (Ho et al. 2020, table 3).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.vp.ddpm_256 import get_ddpm_256_config


def get_config() -> ConfigDict:
    return get_ddpm_256_config()
