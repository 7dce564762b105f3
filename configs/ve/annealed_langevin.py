"""What the published NCSN and NCSNv2 share: SMLD at L levels, sampled by Langevin dynamics.

T steps at each level, x + step score + sqrt(2 step) z with step = epsilon (sigma / sigma_min)^2,
are those of the corrector `annealed_langevin` with snr = sqrt(epsilon / 2) / sigma_min, alone, on
the grid `published`, whose every node starts a step. (Samples begin at N(0, sigma_max^2), as those
of Song et al. 2021; the code of the two papers began at uniform noise.)
"""

import math
from typing import Any

from ml_collections import ConfigDict

from configs.cifar10 import UNIT, pc
from configs.default import get_default_config

SIGMA_MIN = 0.01


def annealed_langevin(epsilon: float, steps: int) -> dict[str, Any]:
    """T = steps of Langevin dynamics at each level, with the step size epsilon of the papers."""
    snr = math.sqrt(epsilon / 2) / SIGMA_MIN
    return pc("none", {"name": "annealed_langevin", "snr": snr, "num_steps": steps})


def get_smld_config(image_size: int, sigma_max: float, levels: int) -> ConfigDict:
    """L levels from sigma_max to 0.01 on a folder of images; the loss is the papers' own."""
    config = get_default_config()
    config.process = {
        "name": "smld",
        "sigma_min": SIGMA_MIN,
        "sigma_max": sigma_max,
        "num_steps": levels,
    }
    config.data = {
        "source": {"name": "folder", "path": "~/images"},
        "space": UNIT,
        "image_size": (image_size, image_size),
        "num_channels": 3,
        "random_flip": True,
    }
    config.loss.reduction = "half_sum"
    config.optim = {"lr": 1e-4, "warmup": 0, "grad_clip": 0.0}
    config.training = {"batch_size": 128, "steps": 200_001}
    config.preview = {"solver": pc("reverse_diffusion", {"name": "none"}), "num_steps": 200}
    config.sampling.grid = "published"
    config.sampling.num_steps = levels
    config.sampling.t_end = 0.0
    config.eval.extractor = "efficientnet_lite0"
    config.eval.likelihood = False
    return config


def get_ncsn_config(image_size: int, nf: int = 128) -> ConfigDict:
    """NCSN (Song & Ermon 2019): 10 levels from 1 to 0.01, 100 steps at each, no average."""
    config = get_smld_config(image_size, sigma_max=1.0, levels=10)
    config.parameterization = {
        "output": "score",
        "c_noise": {"name": "level", "num_levels": 10},
        "centre_input": True,
    }
    config.model = {"name": "ncsn", "nf": nf, "num_levels": 10}
    config.data.dequantize = True
    config.optim.lr = 1e-3
    config.ema.decay = 0.0
    config.sampling.solver = annealed_langevin(2e-5, steps=100)
    config.sampling.denoise = "none"
    return config


def get_ncsnv2_config(image_size: int, sigma_max: float, levels: int) -> ConfigDict:
    """NCSNv2 (Song & Ermon 2020): not conditioned on the noise, its output divided by sigma."""
    config = get_smld_config(image_size, sigma_max, levels)
    config.parameterization = {"output": "scaled_score", "centre_input": True}
    config.model = {"name": "ncsnv2", "nf": 128}
    config.ema.decay = 0.999
    return config


def go_deeper(config: ConfigDict, extra: int = 0) -> None:
    """The deeper NCSNv2, of LSUN; `extra` levels of width 2 more, for larger images."""
    more = (2,) * extra
    config.model.ch_mult = (1, 2, 2, *more, 4, 4)
    config.model.refine_mult = (1, 1, 2, *more, 2, 4)
    config.model.dilations = (1, 1, 1, *(1,) * extra, 2, 4)
