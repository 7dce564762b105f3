r"""DDPM++ continuous deep, sub-VP, CIFAR-10 (106.6 M parameters).

Command: python main.py --config configs/subvp/cifar10_ddpmpp_deep.py \
    --workdir runs/subvp_ddpmpp_deep --mode train
Published: FID 2.41, 2.99 bits/dim (Song et al. 2021, tables 2 and 3).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, go_deep, use_vp


def get_config() -> ConfigDict:
    config = get_cifar10_config()
    use_vp(config, "subvp")
    go_deep(config)
    return config
