r"""NCSN++ continuous deep, VE, CIFAR-10 (107.6 M parameters).

Command: python main.py --config configs/ve/cifar10_ncsnpp_deep.py \
    --workdir runs/cifar10_ncsnpp_deep --mode train
Published: FID 2.20, Inception Score 9.89 (Song et al. 2021, table 3).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, go_deep, use_ve


def get_config() -> ConfigDict:
    config = get_cifar10_config()
    use_ve(config)
    go_deep(config)
    return config
