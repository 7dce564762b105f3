r"""DDPM++ on the discrete levels of DDPM, CIFAR-10 (61.8 M parameters).

Command: python main.py --config configs/vp/cifar10_ddpmpp_discrete.py \
    --workdir runs/cifar10_ddpmpp_discrete --mode train
Published: see Song et al. 2021, appendix H.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.vp.cifar10_ddpm_discrete import use_ddpm_levels
from configs.vp.cifar10_ddpmpp import get_config as continuous


def get_config() -> ConfigDict:
    config = continuous()
    use_ddpm_levels(config)
    return config
