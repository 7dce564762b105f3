r"""DDPM++ continuous, sub-VP, CIFAR-10 (61.8 M parameters).

Command: python main.py --config configs/subvp/cifar10_ddpmpp.py \
    --workdir runs/subvp_ddpmpp --mode train
Published: see Song et al. 2021, tables 2 and 3.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, use_vp


def get_config() -> ConfigDict:
    config = get_cifar10_config()
    use_vp(config, "subvp")
    return config
