r"""NCSN++ on the discrete levels of DDPM, CIFAR-10 (62.7 M parameters).

Command: python main.py --config configs/vp/cifar10_ncsnpp_discrete.py \
    --workdir runs/vp_ncsnpp_discrete --mode train
Published: see Song et al. 2021, appendix H.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.vp.cifar10_ddpm_discrete import use_ddpm_levels
from configs.vp.cifar10_ncsnpp import get_config as continuous


def get_config() -> ConfigDict:
    config = continuous()
    use_ddpm_levels(config)
    return config
