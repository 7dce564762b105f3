r"""NCSN++ on the discrete noise levels of SMLD, CIFAR-10 (62.7 M parameters).

Command: python main.py --config configs/ve/cifar10_ncsnpp_discrete.py \
    --workdir runs/smld --mode train
Published: FID 2.45, Inception Score 9.73 (Song et al. 2021, table 3).
Result here: not yet run.
"""

from ml_collections import ConfigDict

from configs.cifar10 import get_cifar10_config, use_ve


def get_config() -> ConfigDict:
    config = get_cifar10_config()
    use_ve(config)
    config.process = {"name": "smld", "sigma_min": 0.01, "sigma_max": 50.0, "num_steps": 1000}
    config.parameterization.c_noise = "reversed_time"
    config.model.embedding_type = "positional"
    config.sampling.t_end = 0.0
    return config
