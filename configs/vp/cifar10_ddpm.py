"""DDPM in continuous time, VP, CIFAR-10 (35.2 M parameters).

Command: python main.py --config configs/vp/cifar10_ddpm.py --workdir runs/cifar10_ddpm --mode train
Published: FID 3.24, 3.28 bits/dim (Song et al. 2021, tables 2 and 3).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, use_vp


def get_config() -> ConfigDict:
    config = get_cifar10_config()
    use_vp(config)
    config.model = ConfigDict(
        {
            "name": "ddpm",
            "nf": 128,
            "ch_mult": (1, 2, 2, 2),
            "num_res_blocks": 2,
            "attn_resolutions": (16,),
            "dropout": 0.1,
            "remat": False,
            "scan_blocks": False,
        }
    )
    return config
