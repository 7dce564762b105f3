r"""NCSN, CelebA at 32 px (30.1 M parameters; Song & Ermon 2019).

Command: python main.py --config configs/ve/ncsn_celeba_32.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.annealed_langevin import get_ncsn_config


def get_config() -> ConfigDict:
    return get_ncsn_config(32)
