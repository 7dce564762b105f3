"""Likelihood against closed forms: Gaussians and mixtures, exact under every process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import Gaussian, Mixture

from likelihood import log_likelihood
from parameterization import from_score
from sde_lib import VESDE, VPSDE, SubVPSDE

PROCESSES = [VESDE(0.01, 50.0), VPSDE(), SubVPSDE()]
GAUSSIAN = Gaussian(jnp.array([1.0, -2.0, 0.5]), jnp.array([0.5, 1.5, 1.0]))
MIXTURE = Mixture(
    jnp.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]]), 0.5, jnp.array([0.5, 0.3, 0.2])
)


def node_at(process, t, x):
    return process.node(jnp.full(len(x), t))


def flow_density(data, process, x, latent):
    """log p of the exact flow: the data's own density, with the prior in place of p_{t_max}."""
    exact = data.log_prob(node_at(process, process.t_min, x), x)
    return exact + process.prior_logp(latent) - data.log_prob(node_at(process, 1.0, x), latent)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("data", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_exact_divergence_gives_the_exact_density(process, data):
    x = data.sample(jax.random.key(0), 16)
    result = log_likelihood(jax.random.key(1), process, data, x, probe="exact")
    want = flow_density(data, process, x, result.latent)
    np.testing.assert_allclose(result.value, want, atol=1e-3)
    assert result.ok.all() and (result.error == 0).all()


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased_within_its_own_error(probe):
    x = MIXTURE.sample(jax.random.key(0), 128)
    result = log_likelihood(
        jax.random.key(1), VPSDE(), MIXTURE, x, probe=probe, num_probes=16, rtol=1e-4, atol=1e-4
    )
    want = flow_density(MIXTURE, VPSDE(), x, result.latent)
    z = (result.value - want) / result.error
    assert float(jnp.mean(jnp.abs(z) < 2.13)) > 0.88  # Student's t, 15 degrees: 95 %.
    assert abs(float(jnp.mean(z))) < 0.4


def test_a_sample_does_not_depend_on_its_neighbours():
    x = MIXTURE.sample(jax.random.key(0), 8)
    keys = jax.random.split(jax.random.key(2), 8)
    together = log_likelihood(keys, VPSDE(), MIXTURE, x)
    alone = log_likelihood(keys[3:4], VPSDE(), MIXTURE, x[3:4])
    np.testing.assert_allclose(together.value[3:4], alone.value, rtol=1e-5)
    assert together.evaluations[3] == alone.evaluations[0]


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_evaluations_are_counted_as_they_happen(tolerance):
    calls = []

    def score_fn(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.where(t[:, None] < 0.3, -5.0, -1.0) * x

    x, predict = jnp.ones((1, 2)), from_score(score_fn)
    result = log_likelihood(jax.random.key(0), VPSDE(), predict, x, rtol=tolerance, atol=tolerance)
    jax.effects_barrier()
    assert len(calls) == int(result.evaluations[0])


@pytest.mark.parametrize(
    "options, match",
    [
        ({"probe": "uniform"}, "probe"),
        ({"rtol": 0.0}, "rtol"),
        ({"atol": -1.0}, "atol"),
        ({"num_probes": 0}, "num_probes"),
        ({"constraint": lambda x, node, noise: x}, "constraint"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        log_likelihood(jax.random.key(0), VPSDE(), GAUSSIAN, jnp.zeros((1, 3)), **options)


def test_a_step_budget_that_runs_out_is_flagged():
    x = MIXTURE.sample(jax.random.key(0), 2)
    result = log_likelihood(jax.random.key(1), VPSDE(), MIXTURE, x, max_steps=2)
    assert not result.ok.any()
