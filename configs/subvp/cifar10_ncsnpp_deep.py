r"""NCSN++ continuous deep, sub-VP, CIFAR-10 (107.5 M parameters).

Command: python main.py --config configs/subvp/cifar10_ncsnpp_deep.py \
    --workdir runs/subvp_ncsnpp_deep --mode train
Published: see Song et al. 2021, tables 2 and 3.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.vp.cifar10_ncsnpp_deep import get_config as vp


def get_config() -> ConfigDict:
    config = vp()
    config.process.name = "subvp"
    return config
