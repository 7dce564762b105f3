"""Traces of public schedulers on one fixed model, where their definitions agree with ours."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parameterization import OUTPUTS, Prediction
from sampling import ReplayedNoise, sample
from sde_lib import EDM, VPSDE, Node
from solvers import DDIM, DPMSolverPP, Euler, PredictorCorrector
from solvers.predictor_corrector import Ancestral, NoCorrector

SMALL = PredictorCorrector(Ancestral("small"), NoCorrector())
LARGE = PredictorCorrector(Ancestral("large"), NoCorrector())
SDE_DPM = DPMSolverPP(2, noise=True)

CASES = {
    "ddim": DDIM(),
    "ddim_clip": DDIM(),
    "ddim_eta1": DDIM(eta=1.0),
    "ddim_trailing": DDIM(),
    "ddim_v": DDIM(),
    "ddim_sd_offset1": DDIM(),
    "ddim_zero_snr_trailing_v": DDIM(),
    "ddpm_fixed_small": SMALL,
    "ddpm_fixed_small_clip": SMALL,
    "ddpm_cifar10": LARGE,
    "ddpm_cosine": SMALL,
    "dpmpp_2m": DPMSolverPP(),
    "dpmpp_2m_karras": DPMSolverPP(),
    "dpmpp_2m_trailing_v": DPMSolverPP(),
    "dpmpp_2m_leading": DPMSolverPP(),
    "dpmpp_1": DPMSolverPP(1),
    "sde_dpmpp_2m": SDE_DPM,
    "euler": Euler(),
    "euler_karras": Euler(),
    "euler_trailing_v": Euler(),
    "euler_leading_offset1_sd": Euler(),
}


def predictor(config, scaled):
    """The fixed model 0.5 tanh(x), read as the case says; `scaled` for x = x_0 + sigma eps."""
    output = "v" if config["prediction_type"] == "v_prediction" else "noise"

    def predict(x, node, cond):
        norm = jnp.sqrt(1 + node.sigma**2).reshape(-1, 1, 1, 1) if scaled else 1.0
        vp = Node(node.t, node.alpha, node.sigma)
        if scaled:
            size = jnp.sqrt(1 + node.sigma**2)
            vp = Node(node.t, 1 / size, node.sigma / size)
        found = OUTPUTS[output]().read(0.5 * jnp.tanh(x / norm), x / norm, vp)
        x_0 = jnp.clip(found.x_0, -1, 1) if config.get("clip_sample") else found.x_0
        return Prediction(x_0, found.eps, node)

    return predict


def grid_of(z, name, info):
    """The nodes that the case visits, the last one clean or, for DDIM, its first table entry."""
    config, times = info["config"], z[f"{name}/timesteps"]
    if f"{name}/sigmas" in z:
        ratio = z[f"{name}/sigmas_f64"]
        if name.startswith("euler"):
            return Node(jnp.asarray(ratio), jnp.ones(ratio.size), jnp.asarray(ratio))
        alpha = 1 / np.sqrt(1 + ratio**2)
        sigma = ratio * alpha
    else:
        # Spacings without an entry before the last node count back by the ratio of the lengths.
        table = z[info["alphas_cumprod_f64"]]
        final = 1.0 if config.get("set_alpha_to_one", True) else table[0]
        before = times[-1] - 1000 // 10
        squares = np.append(table[times], final if before < 0 else table[before])
        alpha, sigma = np.sqrt(squares), np.sqrt(1 - squares)
    t = np.linspace(1, 0, alpha.size)
    return Node(*(jnp.asarray(f, jnp.float32) for f in (t, alpha, sigma)))


@pytest.mark.parametrize("name", CASES)
def test_the_trace_is_that_of_the_public_scheduler(golden, name):
    z = golden("schedulers")
    info = json.loads(str(z["info_json"]))["cases"][name]
    scaled = name.startswith("euler")
    grid = grid_of(z, name, info)
    want = z[f"{name}/x_f64"].astype(np.float32)
    draws = np.zeros((len(want) - 1, 1, *want.shape[1:]), np.float32)
    count = info["noise_draws"]
    draws[:count, 0] = z["noise"][:count]
    start = jnp.asarray(want[0])
    made = sample(
        jax.random.key(0),
        EDM() if scaled else VPSDE(),
        predictor(info["config"], scaled),
        CASES[name],
        grid,
        want.shape[1:],
        start=(start, Node(*(field[0] for field in grid))),
        noise=ReplayedNoise(start, jnp.asarray(draws)),
        denoise="none",
        frames=len(want),
    )
    scale = np.abs(want).max(axis=(1, 2, 3, 4), keepdims=True)
    np.testing.assert_allclose(made.path / scale, want / scale, atol=2e-4)
