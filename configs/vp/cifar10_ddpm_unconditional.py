r"""DDPM that is not conditioned on the noise level, CIFAR-10 (32.3 M parameters).

Command: python main.py --config configs/vp/cifar10_ddpm_unconditional.py \
    --workdir runs/ddpm_unconditional --mode train
Technique 3 of Song & Ermon 2020 for DDPM; in the published code of Song et al. 2021.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.vp.cifar10_ddpm_discrete import get_config as conditional


def get_config() -> ConfigDict:
    config = conditional()
    config.model.conditional = False
    return config
