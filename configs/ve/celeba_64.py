r"""NCSN++ on the discrete noise levels of SMLD, CelebA at 64 px (62.7 M parameters).

Command: python main.py --config configs/ve/celeba_64.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Published: see Song et al. 2021, app. H.1.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.cifar10_ncsnpp_discrete import get_config as cifar10


def get_config() -> ConfigDict:
    config = cifar10()
    config.process.sigma_max = 90.0
    config.data.source = {"name": "folder", "path": "~/images"}
    config.data.image_size = (64, 64)
    config.sampling.solver.corrector.snr = 0.17
    return config
