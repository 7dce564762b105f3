r"""DDPM++ continuous, VP, CIFAR-10 (61.8 M parameters).

Command: python main.py --config configs/vp/cifar10_ddpmpp.py \
    --workdir runs/cifar10_ddpmpp --mode train
Published: FID 2.55, 3.16 bits/dim (Song et al. 2021, table 2 and 3).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, use_vp


def get_config() -> ConfigDict:
    config = get_cifar10_config()
    use_vp(config)
    return config
