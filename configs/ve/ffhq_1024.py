r"""FFHQ or CelebA-HQ, 1024 px, VE (105.8 M parameters).

Command: python main.py --config configs/ve/ffhq_1024.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.high_resolution import get_high_resolution_config


def get_config() -> ConfigDict:
    config = get_high_resolution_config(1024, sigma_max=1348.0)
    config.model.update({"nf": 16, "ch_mult": (1, 2, 4, 8, 16, 32, 32, 32), "num_res_blocks": 1})
    config.ema.decay = 0.9999
    config.training.batch_size = 8
    config.sampling.solver.corrector.snr = 0.15
    config.sampling.num_samples = 4
    return config
