r"""NCSNv2, LSUN church at 96 px (83.4 M parameters; Song & Ermon 2020).

Command: python main.py --config configs/ve/ncsnv2_church_96.py --config.data.source.path=DIR \
    --workdir DIR2 --mode train
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.annealed_langevin import annealed_langevin, get_ncsnv2_config, go_deeper


def get_config() -> ConfigDict:
    config = get_ncsnv2_config(96, sigma_max=140.0, levels=788)
    go_deeper(config)
    config.sampling.solver = annealed_langevin(4.9e-6, steps=4)
    return config
