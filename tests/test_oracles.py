"""The reverse step of a chain by Bayes' rule."""

import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from oracles import Gaussian, Mixture, log_reverse
from sde_lib import VESDE, VPSDE, transition

LINE = jnp.linspace(-8, 8, 4001)[:, None]
reverse = quick_jit(log_reverse)


def nodes(process, s, t):
    return [process.node(jnp.full(len(LINE), at)) for at in (t, s)]


@pytest.mark.parametrize("process", [VPSDE(), VESDE(0.01, 2.0)])
def test_of_a_gaussian_it_is_the_gaussian_posterior(process):
    mean, std = 0.7, 0.4
    node, node_next = nodes(process, 0.3, 0.5)
    data, x = Gaussian(jnp.array([mean]), jnp.array([std])), jnp.full_like(LINE, 1.3)
    found = reverse(data, node, x, node_next, LINE)
    r, b = (float(of[0]) for of in transition(node, node_next))
    prior_mean = float(node_next.alpha[0]) * mean
    prior = float(node_next.alpha[0] * std) ** 2 + float(node_next.sigma[0]) ** 2
    variance = 1 / (1 / prior + r**2 / b)
    centre = variance * (prior_mean / prior + r * 1.3 / b)
    want = -0.5 * (LINE[:, 0] - centre) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
    near = np.abs(LINE[:, 0] - centre) < 3 * np.sqrt(variance)
    np.testing.assert_allclose(found[near], want[near], atol=2e-3)


@pytest.mark.parametrize("s", [0.05, 0.45])
def test_of_a_mixture_it_is_a_density_which_a_small_step_makes_nearly_gaussian(s):
    data = Mixture(jnp.array([[-2.0], [1.0]]), 0.2, jnp.array([0.4, 0.6]))
    node, node_next = nodes(VPSDE(), s, 0.5)
    density = np.exp(reverse(data, node, jnp.zeros_like(LINE), node_next, LINE))
    step = float(LINE[1, 0] - LINE[0, 0])
    assert density.sum() * step == pytest.approx(1.0, abs=1e-3)
    line = np.asarray(LINE[:, 0])
    mean = (density * line).sum() * step
    variance = (density * (line - mean) ** 2).sum() * step
    gaussian = np.exp(-0.5 * (line - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    apart = 0.5 * np.abs(density - gaussian).sum() * step  # total variation
    assert apart < 0.02 if s > 0.4 else apart > 0.2
