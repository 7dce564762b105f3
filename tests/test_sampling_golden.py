"""Predictor-corrector against recorded traces of the original, its noise replayed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import golden_predictor, nhwc

from sampling import ReplayedNoise, sample
from sde_lib import VESDE, VPSDE
from solvers.predictor_corrector import (
    Ancestral,
    AnnealedLangevin,
    EulerMaruyama,
    Langevin,
    NoCorrector,
    NoPredictor,
    PredictorCorrector,
    ReverseDiffusion,
)
from solvers.published import published_grid


def faithful(predictor: str, corrector: str, n: int, probability_flow: bool):
    predictors = {
        "euler_maruyama": EulerMaruyama(probability_flow, n),
        "reverse_diffusion": ReverseDiffusion(probability_flow, n),
        "ancestral_sampling": Ancestral(faithful=n),
        "none": NoPredictor(),
    }
    correctors = {
        "langevin": Langevin(0.16, 1, n),
        "ald": AnnealedLangevin(0.16, 1, n),
        "none": NoCorrector(),
    }
    return PredictorCorrector(predictors[predictor], correctors[corrector])


TRACES = [
    ("reverse_diffusion", "langevin", 0),
    ("euler_maruyama", "none", 0),
    ("reverse_diffusion", "none", 1),
    ("none", "langevin", 0),
    ("none", "ald", 0),
    ("ancestral_sampling", "langevin", 0),
]


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", ["pc_ve", "pc_vp"])
@pytest.mark.parametrize("predictor, corrector, flow", TRACES)
def test_golden_traces(golden, name, predictor, corrector, flow):
    z = golden(name)
    process, n, t_end = (VESDE(0.01, 50.0), 6, 1e-5) if name == "pc_ve" else (VPSDE(), 24, 1e-3)
    solver = faithful(predictor, corrector, n, bool(flow))
    draws = int(solver.corrector.num_steps) + int(solver.predictor.stages)
    noise = nhwc(z["noise"])[: n * draws].reshape(n, draws, *nhwc(z["x_init"]).shape)
    result = sample(
        jax.random.key(0),
        process,
        golden_predictor(z),
        solver,
        published_grid(process, n, t_end=t_end),
        nhwc(z["x_init"]).shape,
        noise=ReplayedNoise(nhwc(z["x_init"]) / process.prior_std, noise),
        # The original's predictor "none" returns the noised state as its mean.
        denoise="none" if predictor == "none" else "mean",
    )
    want = nhwc(z[f"{predictor}+{corrector}+pf{flow}/x"])
    # The original returns images in [0, 1].
    images = result.x if name == "pc_ve" else (result.x + 1) / 2
    np.testing.assert_allclose(images, want, atol=1e-3 * float(jnp.abs(want).max()))
