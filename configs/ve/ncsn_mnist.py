r"""NCSN, MNIST (7.6 M parameters; Song & Ermon 2019); any grey images of 28 px will do.

Command: python main.py --config configs/ve/ncsn_mnist.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.annealed_langevin import get_ncsn_config


def get_config() -> ConfigDict:
    config = get_ncsn_config(28, nf=64)
    config.data.num_channels = 1
    config.data.random_flip = False
    config.eval.extractor = "digits"
    return config
