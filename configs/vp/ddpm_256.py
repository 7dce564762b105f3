"""What the published DDPMs at 256 px share (Ho et al. 2020, app. B; 111.6 M parameters)."""

from ml_collections import ConfigDict

from configs.vp.cifar10_ddpm_discrete import get_config as cifar10


def get_ddpm_256_config() -> ConfigDict:
    """Of a folder of images."""
    config = cifar10()
    config.model.ch_mult = (1, 1, 2, 2, 4, 4)
    config.model.dropout = 0.0
    config.data.source = {"name": "folder", "path": "~/images"}
    config.data.image_size = (256, 256)
    config.optim.lr = 2e-5
    config.training = {"batch_size": 64, "steps": 2_400_001}
    config.sampling.num_samples = 16
    config.eval.likelihood_images = 64
    return config
