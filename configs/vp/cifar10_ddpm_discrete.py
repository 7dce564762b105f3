r"""DDPM as first published: 1,000 discrete levels, ancestral sampling, CIFAR-10.

Command: python main.py --config configs/vp/cifar10_ddpm_discrete.py \
    --workdir runs/ddpm --mode train
Published: FID 3.17 (Ho et al. 2020, table 1).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.vp.cifar10_ddpm import get_config as continuous


def get_config() -> ConfigDict:
    config = continuous()
    config.process = {"name": "ddpm", "beta_min": 0.1, "beta_max": 20.0, "num_steps": 1000}
    config.sampling.solver.predictor = {"name": "ancestral", "variance": "large"}
    config.sampling.t_end = 0.0
    return config
