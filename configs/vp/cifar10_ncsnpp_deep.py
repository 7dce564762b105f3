r"""NCSN++ continuous deep, VP, CIFAR-10 (107.5 M parameters).

Command: python main.py --config configs/vp/cifar10_ncsnpp_deep.py \
    --workdir runs/vp_ncsnpp_deep --mode train
Published: see Song et al. 2021, appendix H.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import go_deep
from configs.vp.cifar10_ncsnpp import get_config as shallow


def get_config() -> ConfigDict:
    config = shallow()
    go_deep(config)
    return config
