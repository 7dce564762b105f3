r"""NCSNv2, CIFAR-10 (34.0 M parameters; Song & Ermon 2020).

Command: python main.py --config configs/ve/ncsnv2_cifar10.py \
    --workdir runs/ncsnv2 --mode train
Published: FID 10.87, Inception Score 8.40 (Song & Ermon 2020, table 1).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.annealed_langevin import annealed_langevin, get_ncsnv2_config


def get_config() -> ConfigDict:
    config = get_ncsnv2_config(32, sigma_max=50.0, levels=232)
    config.data.source = {"name": "tfds", "path": "~/tensorflow_datasets/cifar10"}
    config.training.steps = 300_001
    config.sampling.solver = annealed_langevin(6.2e-6, steps=5)
    return config
