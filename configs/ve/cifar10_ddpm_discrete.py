r"""The network of DDPM on the discrete noise levels of SMLD, CIFAR-10 (35.2 M parameters).

Command: python main.py --config configs/ve/cifar10_ddpm_discrete.py \
    --workdir runs/ddpm_smld --mode train
In the published code of Song et al. 2021.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.cifar10_ncsnpp_discrete import get_config as ncsnpp
from configs.vp.cifar10_ddpm import get_config as ddpm


def get_config() -> ConfigDict:
    config = ncsnpp()
    config.model = ddpm().model
    return config
