"""The older preconditionings of EDM's baselines, whose networks predict noise and score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiment import kinds
from tools.published.checkpoint import AVERAGE, RAW, Asked
from tools.published.content import opened
from tools.published.edm import EDMNetwork
from tools.safe_pickle import record_of

X = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
SIGMA = np.float32([0.3, 7.0])


def vp(F, x, sigma):
    """Karras et al. 2022, table 1: D = x - sigma F(x / (1 + sigma^2)^(1/2), 999 t(sigma))."""
    beta_d, beta_min = 19.9, 0.1
    t = (np.sqrt(beta_min**2 + 2 * beta_d * np.log1p(sigma**2)) - beta_min) / beta_d
    s = sigma[:, None, None, None]
    return x - s * F(x / np.sqrt(1 + s**2), 999 * t)


def ve(F, x, sigma):
    """D = x + sigma F(x, log(sigma / 2))."""
    return x + sigma[:, None, None, None] * F(x, np.log(sigma / 2))


CASES = {
    "VPPrecond": ("edm_ddpmpp_cond", vp, {"beta_d": 19.9, "beta_min": 0.1, "M": 1000}),
    "VEPrecond": ("edm_ncsnpp_uncond", ve, {"sigma_min": 0.02, "sigma_max": 100}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_denoised_output_is_the_published_formula(name, golden):
    folder, formula, numbers = CASES[name]
    with opened(golden.path / folder / "network.pkl") as content:
        network = record_of(name)()
        network.state = content.tree["ema"].state | numbers
        found = EDMNetwork(network)
        experiment = kinds.experiment(kinds.complete(found.sections(Asked())))
        experiment.check()
        params = found.params(AVERAGE, experiment)
    model = experiment.network.clone(dropout=0.0)
    apply = jax.jit(lambda x, c: model.apply({"params": params}, x, c))
    F = lambda x, c: np.asarray(apply(jnp.asarray(x), jnp.asarray(c, jnp.float32)))  # noqa: E731
    x = np.moveaxis(X, 1, -1)
    expected = np.moveaxis(formula(F, x, SIGMA), -1, 1)
    (compared,) = found.compared(experiment, params, {"x": X, "sigma": SIGMA, "D": expected})
    assert compared.error < 1e-4


def test_other_networks_are_named(golden):
    with opened(golden.path / "edm_ddpmpp_cond/network.pkl") as content:
        with pytest.raises(ValueError, match="params: got 'raw', but the file has the average"):
            EDMNetwork(content.tree["ema"]).params(RAW, None)
        network = record_of("iDDPMPrecond")()
        network.state = content.tree["ema"].state
        with pytest.raises(ValueError, match="preconditioning: got 'iDDPMPrecond'"):
            EDMNetwork(network)
        inner = record_of("DhariwalUNet")()
        network = record_of("EDMPrecond")()
        network.state = {"_modules": {"model": inner}}
        with pytest.raises(ValueError, match="network: got 'DhariwalUNet', expected one of"):
            EDMNetwork(network)
