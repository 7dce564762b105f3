r"""CelebA-HQ, 256 px, VE (65.6 M parameters): as FFHQ at that size.

Command: python main.py --config configs/ve/celebahq_256.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.ffhq_256 import get_config as ffhq


def get_config() -> ConfigDict:
    return ffhq()
