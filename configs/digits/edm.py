"""EDM (Karras et al. 2022) on the digits: the network and the run of vp_small.py.

Its noise, preconditioning, weighting, log-normal noise levels, grid and Heun's method; 0.62 is the
standard deviation of the digits in [-1, 1].
Command: python main.py --config configs/digits/edm.py --workdir runs/digits_edm --mode train
Result: not yet run.
"""

from ml_collections import ConfigDict

from configs.digits.vp_small import get_config as small


def get_config() -> ConfigDict:
    config = small()
    config.process.update({"name": "edm", "t_min": 0.002})
    config.parameterization.update({"output": "edm", "c_noise": "edm", "sigma_data": 0.62})
    config.model.embedding_type = "fourier"
    config.loss.update(
        {"weighting": "edm", "times": "lognormal", "time_mean": -1.2, "time_std": 1.2}
    )
    # 51 evaluations, as many as vp_small.py spends: two a step, one in the last.
    config.sampling.update(
        {"solver": "heun", "grid": "edm", "num_steps": 26, "t_end": 0.002, "end_clean": True}
    )
    return config
