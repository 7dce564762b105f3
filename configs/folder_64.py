r"""Your own images at 64 px: a folder of images, its sub-folders as classes if you like.

Command: python main.py --config configs/folder_64.py --config.data.source.path=DIR \
    --workdir runs/mine --mode train
For classes: --config.conditions.labels.num_classes=N. Set process.sigma_max to what
`python -m tools.sigma_max` says of the folder. Few images: --config.data.augment=0.15
--config.data.random_flip=False, or start from another run with
--config.training.init_from=WORKDIR.
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, use_ve


def get_config() -> ConfigDict:
    config = get_cifar10_config()
    use_ve(config)
    config.process.sigma_max = 90.0
    config.data.source = {"name": "folder", "path": "~/images"}
    config.data.image_size = (64, 64)
    config.model.update({"nf": 96, "num_res_blocks": 2, "attn_resolutions": (16, 8)})
    config.training = {"batch_size": 64, "steps": 200_000, "draw_every": 5_000}
    config.sampling.solver.corrector.snr = 0.17
    return config
