r"""A classifier of noisy AFHQ (cat, dog, wild) at 512 px, for guidance of configs/ve/afhq_512.py.

ResNet-50 with batch norms, conditioned on log sigma by an embedding of 128, begun with weights of
ImageNet, as Traore 2025 describes it ("From Noise to Images", section 5.3; how it was optimised is
not said there). Images are standardised one by one, which at low noise is nearly what those weights
expect. resnet50.npz is made of torchvision's file:
python -m tools.import_checkpoint FILE --config ve/afhq_512_classifier --out resnet50.npz
Command: python main.py --config configs/ve/afhq_512_classifier.py \
    --config.data.source.path=DIR --config.training.init_from=resnet50.npz \
    --workdir DIR2 --mode train
Few examples at once: --config.model.norm.frozen=True keeps the statistics of ImageNet.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import UNIT
from configs.default import get_default_config


def get_config() -> ConfigDict:
    config = get_default_config("classifier")
    config.process = {"name": "ve", "sigma_min": 0.01, "sigma_max": 375.0}
    config.parameterization = {"c_noise": "log_sigma"}
    config.model = {
        "name": "resnet",
        "num_classes": 3,
        "norm": {"name": "batch"},
        "embed_dim": 128,
        "fourier_size": 64,
    }
    config.data = {
        "source": {"name": "folder", "path": "~/images"},
        "space": UNIT,
        "image_size": (512, 512),
        "num_channels": 3,
        "random_flip": True,
    }
    config.optim = {"lr": 1e-4, "warmup": 500, "weight_decay": 1e-4, "decay": "cosine"}
    config.training = {"steps": 20_000, "batch_size": 32, "draw_every": 0}
    return config
