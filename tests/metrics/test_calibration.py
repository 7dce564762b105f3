"""Calibration: of an exact classifier, of one of known temperature, and by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metrics import calibration
from oracles import Mixture
from sde_lib import VESDE, VPSDE, FlowMatching

VP = VPSDE()
RNG = np.random.default_rng(0)
DATA = Mixture(jnp.array([[-1.0, 0.5], [1.0, 1.0], [0.3, -1.2]]), 0.7, jnp.array([0.2, 0.3, 0.5]))


def drawn(logits):
    """Labels drawn from softmax(logits)."""
    gumbel = -np.log(-np.log(RNG.uniform(size=logits.shape)))
    return (logits + gumbel).argmax(axis=1)


def log_softmax(logits):
    return calibration.with_temperature(logits, 1.0)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_a_known_temperature_is_found(temperature):
    logits = 2.0 * RNG.normal(size=(40_000, 5))
    labels = drawn(logits)
    found = calibration.fit_temperature(log_softmax(temperature * logits), labels)
    assert found == pytest.approx(temperature, rel=0.03)
    # It is the least mean of (1) nearby.
    z = log_softmax(temperature * logits)

    def loss(t):
        return -np.mean(calibration.with_temperature(z, t)[np.arange(len(z)), labels])

    assert loss(found) < min(loss(0.99 * found), loss(1.01 * found))


def test_a_temperature_without_a_minimum_is_at_an_end():
    z = log_softmax(np.eye(3)[[0, 1, 2]])
    low, high = calibration.TEMPERATURES
    assert calibration.fit_temperature(z, np.array([0, 1, 2])) == pytest.approx(low, rel=1e-6)
    assert calibration.fit_temperature(z, np.array([1, 2, 0])) == pytest.approx(high, rel=1e-6)


def test_the_calibration_error_by_hand():
    # Two are sure to 0.9, one of them rightly; two to 0.6, both rightly.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    labels = np.array([0, 1, 0, 1])
    expected = 0.5 * abs(0.5 - 0.9) + 0.5 * abs(1.0 - 0.6)
    assert calibration.calibration_error(np.log(p), labels) == pytest.approx(expected)
    np.testing.assert_allclose(calibration.confusion(np.log(p), labels), [[1, 0], [0.5, 0.5]])


@pytest.fixture(scope="module")
def exact():
    """Data of a mixture, and the calibration of its exact classifier."""
    n = 8000
    which, noise = jax.random.split(jax.random.key(0))
    labels = jax.random.categorical(which, jnp.log(DATA.weights), shape=(n,))
    x_0 = DATA.means[labels] + DATA.std * jax.random.normal(noise, (n, 2))
    found = calibration.measure(jax.random.key(1), DATA, VP, x_0, labels, levels=6, batch_size=3000)
    return x_0, labels, found


def test_an_exact_classifier_is_calibrated_at_every_level(exact):
    _, _, found = exact
    assert found.level.shape == (6,) and np.all(np.diff(found.level) > 0)
    told = found.level < 3  # beyond, nearly nothing depends on the temperature
    np.testing.assert_allclose(found.temperature[told], 1.0, atol=0.06)
    assert found.calibration_error.max() < 0.03
    np.testing.assert_allclose(found.calibrated, found.log_likelihood, atol=1e-3)
    # Nothing is left but the share of each class.
    entropy = -float(jnp.sum(DATA.weights * jnp.log(DATA.weights)))
    assert found.log_likelihood[-1] == pytest.approx(-entropy, abs=0.03)
    assert found.accuracy[-1] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(found.confusion.sum(axis=2), 1.0)


def test_an_over_confident_classifier_is_told_by_its_temperature(exact):
    x_0, labels, truth = exact

    @jax.tree_util.register_static
    @dataclasses.dataclass(frozen=True)
    class Sharp:
        def log_probs(self, x, node):
            return jax.nn.log_softmax(3 * DATA.log_probs(x, node))

    found = calibration.measure(jax.random.key(1), Sharp(), VP, x_0, labels, levels=6)
    told = found.level < 3
    np.testing.assert_allclose(found.temperature[told], 3 * truth.temperature[told], rtol=0.01)
    np.testing.assert_allclose(found.accuracy, truth.accuracy)
    assert np.all(found.calibration_error[told] > found.calibrated_error[told])


def test_an_example_does_not_depend_on_its_batch(exact):
    x_0, _, _ = exact
    edges = calibration.level_edges(VP, 3)
    keys = jax.random.split(jax.random.key(2), 4)
    whole = calibration.noisy_log_probs(DATA, VP, x_0[:4], keys, edges)
    part = calibration.noisy_log_probs(DATA, VP, x_0[2:4], keys[2:], edges)
    assert whole.shape == (4, 3, 3)
    np.testing.assert_allclose(part, whole[2:], rtol=1e-5)


@pytest.mark.parametrize("process", [VP, VESDE(0.01, 50.0), FlowMatching()], ids=str)
def test_levels_are_those_of_the_process(process):
    edges = calibration.level_edges(process, 20)
    assert len(edges) == 21 and np.all(np.isfinite(edges)) and np.all(np.diff(edges) < 0)


def test_no_levels_are_refused():
    with pytest.raises(ValueError, match="^levels: got 0"):
        calibration.level_edges(VP, 0)
