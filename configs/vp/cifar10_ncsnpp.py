r"""NCSN++ continuous, VP, CIFAR-10 (62.7 M parameters).

Command: python main.py --config configs/vp/cifar10_ncsnpp.py \
    --workdir runs/vp_ncsnpp --mode train
Published: see Song et al. 2021, appendix H.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, use_vp


def get_config() -> ConfigDict:
    config = get_cifar10_config()
    use_vp(config)
    config.model.update({"fir": True, "progressive_input": "residual"})
    return config
