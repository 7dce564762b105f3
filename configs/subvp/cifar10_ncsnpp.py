r"""NCSN++ continuous, sub-VP, CIFAR-10 (62.7 M parameters).

Command: python main.py --config configs/subvp/cifar10_ncsnpp.py \
    --workdir runs/subvp_ncsnpp --mode train
Published: see Song et al. 2021, tables 2 and 3.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.vp.cifar10_ncsnpp import get_config as vp


def get_config() -> ConfigDict:
    config = vp()
    config.process.name = "subvp"
    return config
