r"""A classifier of noisy CIFAR-10, for guidance of configs/ve/cifar10_ncsnpp.py.

The wide ResNet 28-10 (38.9 M parameters) of Song et al. 2021, app. I.1, conditioned on log sigma;
they do not say how it was optimised.
Command: python main.py --config configs/ve/cifar10_classifier.py \
    --workdir runs/cifar10_classifier --mode train
Birds and deer, of a model trained in runs/cifar10_ncsnpp:
python main.py --workdir runs/cifar10_ncsnpp --mode control --config.control.task=guide \
    --config.control.labels=bird,deer --config.guidance.strategy=automatic \
    --config.guidance.classifier=runs/cifar10_classifier
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, use_ve
from configs.default import get_default_config


def get_config() -> ConfigDict:
    model = get_cifar10_config()
    use_ve(model)
    config = get_default_config("classifier")
    config.process = model.process
    config.data = model.data
    config.parameterization = {"c_noise": "log_sigma"}
    config.model = {"name": "wide_resnet", "num_classes": 10}
    config.optim = {"lr": 2e-4, "warmup": 5000}
    config.training = {"steps": 200_000, "batch_size": 128, "draw_every": 0}
    return config
