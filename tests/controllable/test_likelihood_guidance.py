"""Guidance by any function: a Gaussian posterior in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from controllable.likelihood_guidance import by_estimates, by_states
from options.errors import InvalidValue
from oracles import Gaussian
from sde_lib import VPSDE
from tasks.conditions import ClassLabel

PROCESS = VPSDE()
MEAN, STD, NOISE = 1.0, 0.5, 0.3  # x_0 ~ N(MEAN, STD^2), y = x_0 + NOISE eps
DATA = Gaussian(jnp.full(1, MEAN), jnp.full(1, STD))
X, T = jnp.linspace(-2, 2, 5)[:, None], jnp.linspace(0.01, 0.9, 5)
NODE = PROCESS.node(T)
COND = {"y": jnp.full(5, 0.4)}


def posterior(x, node):
    """Mean and variance of x_0 given x_t."""
    precision = 1 / STD**2 + node.alpha**2 / node.sigma**2
    mean = (MEAN / STD**2 + node.alpha * x[:, 0] / node.sigma**2) / precision
    return mean, 1 / precision


def exact(x, node, cond):
    """log p(y | x_t)."""
    mean, variance = posterior(x, node)
    return -((cond["y"] - mean) ** 2) / (2 * (variance + NOISE**2))


def given_y(x, node):
    """E[x_0 | x_t, y]."""
    mean, variance = posterior(x, node)
    return mean + variance / (variance + NOISE**2) * (COND["y"] - mean)


def test_a_likelihood_of_noisy_states_gives_the_posterior():
    found = by_states(exact)(DATA)(X, NODE, COND)
    np.testing.assert_allclose(found.x_0[:, 0], given_y(X, NODE), rtol=2e-4)
    twice = by_states(exact, scale=2.0)(DATA)(X, NODE, COND)
    plain = DATA(X, NODE)
    np.testing.assert_allclose(twice.x_0 - plain.x_0, 2 * (found.x_0 - plain.x_0), rtol=1e-3)


def test_one_of_clean_data_is_taken_at_the_estimate():
    def of_clean(x_0, node, cond):
        return -((cond["y"] - x_0[:, 0]) ** 2) / (2 * NOISE**2)

    found = by_estimates(of_clean)(DATA)(X, NODE, COND)
    mean, variance = posterior(X, NODE)
    # The gradient of (2) in x_t is that in x_0 times d x_0 / d x_t = alpha variance / sigma^2.
    expected = mean + variance * (COND["y"] - mean) / NOISE**2
    np.testing.assert_allclose(found.x_0[:, 0], expected, rtol=2e-4)


def test_the_padding_is_left_alone_and_what_was_never_dropped_cannot_be():
    cond = COND | {"mask": jnp.zeros((5, 1))}
    found = by_states(exact)(DATA)(X, NODE, cond)
    np.testing.assert_allclose(found.eps, DATA(X, NODE).eps, rtol=1e-6)
    with pytest.raises(InvalidValue, match="labels.dropout"):
        by_states(exact, 1.0, (ClassLabel(3),), ("labels",))
    assert not jax.tree.leaves(by_states(exact)(DATA).log_prob)
