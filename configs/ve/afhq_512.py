r"""AFHQ, 512 px, VE, as Traore 2025 trains it ("From Noise to Images", table 3.1).

Command: python main.py --config configs/ve/afhq_512.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.high_resolution import get_high_resolution_config


def get_config() -> ConfigDict:
    config = get_high_resolution_config(512, sigma_max=375.0)
    config.ema.decay = 0.9999
    config.training.batch_size = 32
    config.training.steps = 520_000
    config.sampling.solver.corrector.snr = 0.16
    return config
