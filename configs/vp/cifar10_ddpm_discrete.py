r"""DDPM as first published: 1,000 discrete levels, ancestral sampling, CIFAR-10.

Command: python main.py --config configs/vp/cifar10_ddpm_discrete.py \
    --workdir runs/ddpm --mode train
Published: FID 3.17 (Ho et al. 2020, table 1).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.vp.cifar10_ddpm import get_config as continuous


def use_ddpm_levels(config: ConfigDict) -> None:
    """The levels of Ho et al. 2020, eq. 2 and section 4, and their ancestral sampling."""
    config.process = {"name": "ddpm", "beta_min": 0.1, "beta_max": 20.0, "num_steps": 1000}
    config.sampling.solver.predictor = {"name": "ancestral", "variance": "large"}
    config.sampling.t_end = 0.0


def get_config() -> ConfigDict:
    config = continuous()
    use_ddpm_levels(config)
    return config
