r"""NCSN++ continuous, VE, CIFAR-10 (62.8 M parameters).

Command: python main.py --config configs/ve/cifar10_ncsnpp.py \
    --workdir runs/cifar10_ncsnpp --mode train
Published: FID 2.38, Inception Score 9.83 (Song et al. 2021, table 3).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, use_ve


def get_config() -> ConfigDict:
    config = get_cifar10_config()
    use_ve(config)
    return config
