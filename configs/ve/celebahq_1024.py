r"""CelebA-HQ, 1024 px, VE (105.8 M parameters): as FFHQ at that size.

Command: python main.py --config configs/ve/celebahq_1024.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.ffhq_1024 import get_config as ffhq


def get_config() -> ConfigDict:
    return ffhq()
