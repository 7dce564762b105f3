r"""NCSN, CIFAR-10 (30.1 M parameters; Song & Ermon 2019).

Command: python main.py --config configs/ve/ncsn_cifar10.py \
    --workdir runs/ncsn --mode train
Published: FID 25.32, Inception Score 8.87 (Song & Ermon 2019, table 1).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.annealed_langevin import get_ncsn_config


def get_config() -> ConfigDict:
    config = get_ncsn_config(32)
    config.data.source = {"name": "tfds", "path": "~/tensorflow_datasets/cifar10"}
    return config
