"""Predictions: every output of a network tells the same (x_0, eps)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parameterization import (
    C_NOISE,
    READERS,
    WRITERS,
    Parameterization,
    Prediction,
    from_eps,
    from_score,
    from_x_0,
)
from sde_lib import VESDE, VPSDE, FlowMatching, SubVPSDE, expand_right

PROCESSES = [VESDE(0.01, 50.0), VPSDE(), SubVPSDE()]
ids = lambda process: type(process).__name__  # noqa: E731
X_0 = jax.random.uniform(jax.random.key(0), (5, 4, 3), minval=-1.0)
EPS = jax.random.normal(jax.random.key(1), (5, 4, 3))
T = jnp.array([0.01, 0.1, 0.4, 0.7, 1.0])

# What a perfect network of each kind outputs, from (x_0, eps, alpha, sigma).
PERFECT = {
    "noise": lambda x_0, eps, alpha, sigma: eps,
    "score": lambda x_0, eps, alpha, sigma: -eps / sigma,
    "scaled_score": lambda x_0, eps, alpha, sigma: -eps,
    "data": lambda x_0, eps, alpha, sigma: x_0,
    "v": lambda x_0, eps, alpha, sigma: alpha * eps - sigma * x_0,
    "velocity": lambda x_0, eps, alpha, sigma: eps - x_0,
    "edm": lambda x_0, eps, alpha, sigma: (
        (x_0 - 0.25 / ((s := sigma / alpha) ** 2 + 0.25) * (x_0 + s * eps))
        * jnp.sqrt(s**2 + 0.25)
        / (s * 0.5)
    ),
}


def noised(process):
    node = process.node(T)
    alpha, sigma = expand_right(node.alpha, X_0), expand_right(node.sigma, X_0)
    return alpha * X_0 + sigma * EPS, node, alpha, sigma


@pytest.mark.parametrize("process", PROCESSES, ids=ids)
@pytest.mark.parametrize("output", PERFECT)
def test_a_perfect_network_gives_back_the_noise_and_the_data(process, output):
    x, node, alpha, sigma = noised(process)
    perfect = PERFECT[output](X_0, EPS, alpha, sigma)
    prediction = Parameterization(output=output).predict(lambda *_: perfect, x, node, {})
    # A relative rounding of 2e-7 in x is all that float32 leaves; eps sees it over sigma.
    np.testing.assert_allclose(
        prediction.eps, EPS, atol=3e-6 * float(jnp.max(1 + jnp.abs(x) / sigma))
    )
    np.testing.assert_allclose(
        prediction.x_0, X_0, atol=3e-6 * float(jnp.max(1 + jnp.abs(x) / alpha))
    )


@pytest.mark.parametrize("process", PROCESSES, ids=ids)
def test_velocity_is_the_probability_flow(process):
    """alpha' x_0 + sigma' eps = f x - g^2 score / 2 (Song et al. 2021, eq. 13)."""
    x, node, _, _ = noised(process)
    score = -EPS / expand_right(node.sigma, EPS)
    want = process.probability_flow(lambda x, t: score)(x, T)
    got = from_eps(x, EPS, node).velocity(process)
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4 * float(jnp.abs(want).max()))


@pytest.mark.parametrize("process", PROCESSES, ids=ids)
@pytest.mark.parametrize("output", WRITERS)
@pytest.mark.parametrize("trained", READERS)
def test_a_network_of_one_output_serves_as_any_other(process, trained, output):
    """Written as another output and read back, (x_0, eps) are the same to float precision."""
    x, node, alpha, sigma = noised(process)
    found = READERS[trained](PERFECT[trained](X_0, EPS, alpha, sigma), x, node)
    again = READERS[output](found.as_output(output), x, node)
    size = float(jnp.max(1 + jnp.abs(x) / sigma))
    np.testing.assert_allclose(again.eps, found.eps, atol=1e-5 * size)
    np.testing.assert_allclose(alpha * again.x_0 + sigma * again.eps, x, rtol=1e-4, atol=1e-4)


def test_the_flow_network_is_read_at_pure_noise():
    """At t = 1 of the straight path x = eps, and a velocity gives x_0 where a score does not."""
    node = FlowMatching().node(jnp.ones(5))
    found = READERS["velocity"](EPS - X_0, EPS, node)
    np.testing.assert_allclose(found.x_0, X_0, atol=1e-6)
    np.testing.assert_allclose(found.velocity(FlowMatching()), EPS - X_0, atol=1e-6)


def test_learned_variance_is_the_second_half_of_the_channels():
    x, node, _, _ = noised(VPSDE())
    output = jnp.concatenate([EPS, jnp.full_like(EPS, 0.5)], axis=-1)
    made = Parameterization("noise", learned_variance=True)
    found = made.predict(lambda *_: output, x, node, {})
    np.testing.assert_array_equal(found.eps, EPS)
    np.testing.assert_array_equal(found.variance, 0.75)


def test_edm_is_no_output_to_write():
    x, node, _, _ = noised(VPSDE())
    with pytest.raises(ValueError, match="output: got 'edm'"):
        from_eps(x, EPS, node).as_output("edm")


def test_score_is_minus_eps_over_sigma():
    node = VPSDE().node(T)
    prediction = Prediction(X_0, EPS, node)
    np.testing.assert_allclose(prediction.score * expand_right(node.sigma, EPS), -EPS, rtol=1e-6)


def test_from_x_0_and_from_eps_are_inverse():
    x, node, _, _ = noised(VPSDE())
    again = from_x_0(x, from_eps(x, EPS, node).x_0, node)
    np.testing.assert_allclose(again.eps, EPS, atol=1e-3)


def test_a_score_function_is_a_predictor():
    x, node, _, _ = noised(VPSDE())
    predict = from_score(lambda x, t: -x * expand_right(t, x))
    np.testing.assert_allclose(predict(x, node).score, -x * T[:, None, None], rtol=1e-5, atol=1e-6)


def test_what_the_network_is_told():
    process = VESDE(0.01, 50.0)
    node = process.node(T)
    told = {name: fn(node, 999.0) for name, fn in C_NOISE.items()}
    np.testing.assert_allclose(told["log_sigma"], jnp.log(process.sigma(T)))
    np.testing.assert_allclose(told["time"], 999 * T)
    np.testing.assert_allclose(told["reversed_time"], 999 * (1 - T), atol=1e-3)
    np.testing.assert_allclose(told["edm"], jnp.log(process.sigma(T)) / 4, rtol=1e-6)


def test_inputs_are_centred_and_conditioning_is_passed_on():
    seen = {}

    def network(x, c_noise, **cond):
        seen.update(x=x, **cond)
        return x

    x, node, _, _ = noised(VESDE(0.01, 50.0))
    labels = jnp.arange(5)
    Parameterization(centre_input=True).predict(network, x, node, {"labels": labels})
    np.testing.assert_allclose(seen["x"], 2 * x - 1)
    np.testing.assert_array_equal(seen["labels"], labels)


def test_edm_sees_inputs_of_unit_variance():
    """Karras et al. 2022, table 1: c_in makes x / alpha of variance 1 for data of sigma_data."""
    node = VESDE(0.01, 50.0).node(jnp.full(20_000, 0.7))
    x = 0.5 * jax.random.normal(jax.random.key(0), (20_000, 1))
    x += node.sigma[:, None] * jax.random.normal(jax.random.key(1), (20_000, 1))
    seen = []
    parameterization = Parameterization(output="edm", c_noise="edm", sigma_data=0.5)
    parameterization.predict(lambda x, c: seen.append(x) or x, x, node, {})
    assert float(seen[0].std()) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"output": "epsilon"}, "output"),
        ({"c_noise": "sigma"}, "c_noise"),
        ({"sigma_data": 0.0}, "sigma_data"),
    ],
)
def test_bad_parameterizations_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        Parameterization(**options)
