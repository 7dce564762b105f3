r"""AFHQ, 256 px, VE (65.6 M parameters): configs/ve/afhq_512.py at half the size.

Command: python main.py --config configs/ve/afhq_256.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
sigma_max is half of that at 512 px, as distances between images are; tools.sigma_max measures it.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.high_resolution import get_high_resolution_config


def get_config() -> ConfigDict:
    config = get_high_resolution_config(256, sigma_max=188.0)
    config.ema.decay = 0.9999
    config.training.steps = 520_000
    config.sampling.solver.corrector.snr = 0.16
    return config
