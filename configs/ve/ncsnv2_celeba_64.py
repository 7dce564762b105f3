r"""NCSNv2, CelebA at 64 px (34.0 M parameters; Song & Ermon 2020).

Command: python main.py --config configs/ve/ncsnv2_celeba_64.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Published: FID 10.23 (Song & Ermon 2020, table 1).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.annealed_langevin import annealed_langevin, get_ncsnv2_config


def get_config() -> ConfigDict:
    config = get_ncsnv2_config(64, sigma_max=90.0, levels=500)
    config.training.steps = 210_001
    config.sampling.solver = annealed_langevin(3.3e-6, steps=5)
    return config
