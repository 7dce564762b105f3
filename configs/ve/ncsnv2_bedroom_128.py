r"""NCSNv2, LSUN bedroom at 128 px (83.4 M parameters; Song & Ermon 2020).

Command: python main.py --config configs/ve/ncsnv2_bedroom_128.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.annealed_langevin import annealed_langevin, get_ncsnv2_config, go_deeper


def get_config() -> ConfigDict:
    config = get_ncsnv2_config(128, sigma_max=190.0, levels=1086)
    go_deeper(config)
    config.training.steps = 150_001
    config.sampling.solver = annealed_langevin(1.8e-6, steps=3)
    return config
