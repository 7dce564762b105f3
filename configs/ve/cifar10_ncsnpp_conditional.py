r"""NCSN++ continuous, VE, CIFAR-10, conditioned on the class (62.8 M parameters).

Command: python main.py --config configs/ve/cifar10_ncsnpp_conditional.py \
    --workdir runs/cifar10_classes --mode train
The label is hidden from a tenth of the examples, for guidance without a classifier. Birds and deer:
python main.py --workdir runs/cifar10_classes --mode sample --config.sampling.labels=bird,deer
Song et al. 2021, section 5, draw classes from the unconditional model, guided by a classifier,
configs/ve/cifar10_classifier.py.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.ve.cifar10_ncsnpp import get_config as unconditional


def get_config() -> ConfigDict:
    config = unconditional()
    config.conditions = {"labels": {"num_classes": 10, "dropout": 0.1}}
    return config
