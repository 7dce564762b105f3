r"""NCSNv2, FFHQ at 256 px (94.1 M parameters; Song & Ermon 2020).

Command: python main.py --config configs/ve/ncsnv2_ffhq_256.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.annealed_langevin import annealed_langevin, get_ncsnv2_config, go_deeper


def get_config() -> ConfigDict:
    config = get_ncsnv2_config(256, sigma_max=348.0, levels=2311)
    go_deeper(config, extra=1)
    config.optim.eps = 1e-3
    config.training.batch_size = 32
    config.training.steps = 80_001
    config.sampling.solver = annealed_langevin(0.9e-6, steps=3)
    return config
