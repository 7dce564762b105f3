"""What the published high-resolution VE models share (Song et al. 2021, app. H.3)."""

from ml_collections import ConfigDict

from configs.cifar10 import UNIT, pc
from configs.default import get_default_config


def get_high_resolution_config(image_size: int, sigma_max: float) -> ConfigDict:
    """NCSN++ with skip connections to images at every level, trained on a folder of images."""
    config = get_default_config()
    config.process = {"name": "ve", "sigma_min": 0.01, "sigma_max": sigma_max}
    config.parameterization = {
        "output": "scaled_score",
        "c_noise": "log_sigma",
        "centre_input": True,
    }
    config.model = {
        "name": "ncsnpp",
        "nf": 128,
        "ch_mult": (1, 1, 2, 2, 2, 2, 2),
        "num_res_blocks": 2,
        "attn_resolutions": (16,),
        "dropout": 0.0,
        "remat": False,
        "scan_blocks": False,
        "fir": True,
        "progressive": "output_skip",
        "progressive_input": "input_skip",
        "embedding_type": "fourier",
        "fourier_scale": 16.0,
    }
    config.data = {
        "source": {"name": "folder", "path": "~/images"},
        "space": UNIT,
        "image_size": (image_size, image_size),
        "num_channels": 3,
        "random_flip": True,
    }
    config.training = {"batch_size": 64, "steps": 2_400_001}
    config.sampling.solver = pc("reverse_diffusion", {"name": "langevin", "snr": 0.075})
    config.sampling.num_steps = 2000
    config.sampling.num_samples = 16
    config.eval.extractor = "efficientnet_lite0"
    config.eval.likelihood_images = 64
    return config
