r"""A classifier of noisy AFHQ (cat, dog, wild) at 256 px, for guidance of configs/ve/afhq_256.py.

Command: python main.py --config configs/ve/afhq_256_classifier.py \
    --config.data.source.path=DIR --config.training.init_from=resnet50.npz \
    --workdir DIR2 --mode train
That of 512 px, configs/ve/afhq_512_classifier.py, which says what init_from is.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.afhq_512_classifier import get_config as larger


def get_config() -> ConfigDict:
    config = larger()
    config.process.sigma_max = 188.0
    config.data.image_size = (256, 256)
    config.training.batch_size = 64
    return config
