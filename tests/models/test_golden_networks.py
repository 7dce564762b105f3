"""The networks against outputs of the original implementation, weights imported by name.

What the original does around the network is written out here: it centres the input unless the data
are, embeds log sigma where it embeds by Fourier features, and divides VE outputs by sigma.
"""

import copy
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import golden_network, nhwc
from quick import quick_jit

from models.importers.score_sde import params_from_torch
from models.layers.embedding import FourierFeatures, positional_features
from sde_lib import VESDE, VPSDE, expand_right

FIXTURES = [
    "i_ve_ncsnpp",
    "ii_ve_reduced",
    "iii_vp_ddpmpp",
    "iv_vp_ddpm",
    "v_ve_skip64",
    "x_centered_uncond",
    "x_ddpmblock_fir_noconv",
]


class Original:
    """The original's model of a fixture: `model(x, cond)`, NHWC."""

    def __init__(self, z) -> None:
        config = json.loads(str(z["config_json"]))
        self.centred = config["data"]["centered"]
        self.divide = config["model"]["scale_by_sigma"]
        is_ncsnpp = config["model"]["name"] == "ncsnpp"
        self.fourier = is_ncsnpp and config["model"]["embedding_type"] == "fourier"
        self.sde = config["training"]["sde"]
        options = config["model"]
        self.ve = VESDE(options["sigma_min"], options["sigma_max"])
        self.vp = VPSDE(options["beta_min"], options["beta_max"])
        self.network = golden_network(z)
        state = {k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")}
        self.params = params_from_torch(state, self.network)
        self.apply = quick_jit(self.network.apply)
        meta = json.loads(str(z["meta_json"]))
        self.max_abs = 4 * meta["max_abs_f32_vs_f64"]
        self.max_rel_to_std = 4 * meta["max_rel_to_std_f32_vs_f64"]

    def __call__(self, x, cond):
        c_noise = jnp.log(cond) if self.fourier else cond
        y = self.apply({"params": self.params}, x if self.centred else 2 * x - 1, c_noise)
        return y / expand_right(cond, y) if self.divide else y

    def score(self, kind: str, x, t):
        """The original's continuous score: VE networks are told sigma, the others 999 t."""
        if kind == "ve":
            return self(x, self.ve.sigma(t))
        # The original's std, which loses digits near t = 0, where ours uses expm1.
        variance = 1 - jnp.exp(2 * self.vp.log_alpha(t))
        std = jnp.sqrt(variance) if kind == "vp" else variance
        return -self(x, 999 * t) / expand_right(std, x)

    def drift(self, x, t):
        """Of the probability flow, f - g^2 score / 2."""
        score = lambda x, t: self.score(self.sde.removesuffix("sde"), x, t)  # noqa: E731
        process = self.ve if self.sde == "vesde" else self.vp
        return process.probability_flow(score)(x, t)


@pytest.fixture(scope="module", params=FIXTURES)
def case(request, golden):
    z = golden(request.param)
    return z, Original(z)


def error_in_stds(ours, theirs) -> float:
    return float(np.max(np.abs(ours - theirs)) / np.std(theirs))


@pytest.mark.one_in(4)
def test_output(case):
    z, original = case
    y = original(nhwc(z["x"]), jnp.asarray(z["cond"]))
    np.testing.assert_allclose(y, nhwc(z["out"]), rtol=0, atol=original.max_abs)


def test_embedding(case):
    z, original = case
    if "emb" not in z.files:
        pytest.skip("the fixture's network is not told the noise level")
    cond = jnp.asarray(z["cond"])
    if original.fourier:
        features = FourierFeatures(original.network.nf)
        emb = features.apply({"params": original.params["fourier"]}, jnp.log(cond))
    else:
        emb = positional_features(cond, original.network.nf)
    # The phase, 2 pi W log sigma or t, is up to 1000 and its float32 rounding 6e-5.
    np.testing.assert_allclose(emb, z["emb"], rtol=0, atol=2e-4)


@pytest.mark.parametrize("kind", ["ve", "vp", "subvp"])
def test_score(case, kind):
    z, original = case
    score = original.score(kind, nhwc(z[f"score/{kind}/x"]), jnp.asarray(z[f"score/{kind}/t"]))
    assert error_in_stds(score, nhwc(z[f"score/{kind}/out"])) <= original.max_rel_to_std


@pytest.mark.slow
def test_probability_flow_and_its_vjp(case):
    z, original = case
    x, t = nhwc(z["pf/x"]), jnp.asarray(z["pf/t"])
    eps = nhwc(z["pf/eps_int8"]).astype(jnp.float32)

    within = copy.copy(original)
    within.apply = original.network.apply  # not compiled on its own

    @quick_jit
    def drift_and_vjp(x):
        drift, pullback = jax.vjp(lambda x: within.drift(x, t), x)
        return drift, pullback(eps)[0]

    drift, vjp = drift_and_vjp(x)
    assert error_in_stds(drift, nhwc(z["pf/drift"])) <= original.max_rel_to_std
    assert error_in_stds(vjp, nhwc(z["pf/vjp"])) <= original.max_rel_to_std
    divergence = jnp.sum(vjp * eps, axis=(1, 2, 3))
    np.testing.assert_allclose(divergence, z["pf/div"], rtol=1e-4, atol=1e-3)
