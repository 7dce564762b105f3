r"""What all published CIFAR-10 configurations share (Song et al. 2021, appendices F to H).

Prepare the data once: python -m tools.prepare_cifar10 \
    --archive cifar-10-python.tar.gz --output ~/tensorflow_datasets
"""

from typing import Any

from ml_collections import ConfigDict

from configs.default import get_default_config

UNIT = {"name": "pixels", "low": 0.0, "high": 1.0}
CENTERED = {"name": "pixels", "low": -1.0, "high": 1.0}


def get_cifar10_config() -> ConfigDict:
    config = get_default_config()
    config.data = {
        "source": {"name": "tfds", "path": "~/tensorflow_datasets/cifar10"},
        "image_size": (32, 32),
        "num_channels": 3,
        "random_flip": True,
    }
    config.model = {
        "name": "ncsnpp",
        "nf": 128,
        "ch_mult": (1, 2, 2, 2),
        "num_res_blocks": 4,
        "attn_resolutions": (16,),
        "dropout": 0.1,
        "remat": False,
        "scan_blocks": False,
    }
    config.eval.extractor = "efficientnet_lite0"
    return config


def pc(predictor: str, corrector: dict[str, Any]) -> dict[str, Any]:
    """A predictor-corrector solver."""
    return {"name": "pc", "predictor": {"name": predictor}, "corrector": corrector}


def use_ve(config: ConfigDict) -> None:
    """NCSN++ for the variance exploding process: FIR, residual input pyramid, Fourier features."""
    config.process = {"name": "ve", "sigma_min": 0.01, "sigma_max": 50.0}
    config.parameterization = {
        "output": "scaled_score",
        "c_noise": "log_sigma",
        "centre_input": True,
    }
    config.data.space = UNIT
    config.model.update(
        {
            "fir": True,
            "progressive_input": "residual",
            "embedding_type": "fourier",
            "fourier_scale": 16.0,
        }
    )
    config.loss.reduction = "half_sum"
    config.ema.decay = 0.999
    config.sampling.solver = pc("reverse_diffusion", {"name": "langevin", "snr": 0.16})
    config.sampling.t_end = 1e-5


def use_vp(config: ConfigDict, name: str = "vp") -> None:
    """DDPM++ for VP or sub-VP: no FIR, no pyramid, positional embedding of 999 t."""
    config.process = {"name": name, "beta_min": 0.1, "beta_max": 20.0}
    config.parameterization = {"output": "noise", "c_noise": {"name": "time", "scale": 999.0}}
    config.data.space = CENTERED
    config.model.update({"fir": False, "progressive_input": "none", "embedding_type": "positional"})
    config.loss.reduction = "mean"
    config.ema.decay = 0.9999
    config.sampling.solver = pc("euler_maruyama", {"name": "none"})
    config.sampling.t_end = 1e-3


def go_deep(config: ConfigDict) -> None:
    """Eight residual blocks a level, 950,001 iterations."""
    config.model.num_res_blocks = 8
    config.training.steps = 950_001
