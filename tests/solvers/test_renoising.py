"""Noise drawn wholly anew: exact for one point, and too narrow by a known factor for Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import Gaussian
from sampling import sample
from sde_lib import VPSDE, HandwritingSchedule
from solvers.grids import end_clean, uniform_grid
from solvers.predictor_corrector import Ancestral, NoCorrector, PredictorCorrector
from solvers.renoising import Renoising

STD = 0.5


def spread(process, steps):
    """The exact standard deviation of a run's result, on N(0, STD^2), by recursion over nodes."""
    grid = uniform_grid(process, steps, t_end=1e-3)
    alpha, sigma = np.float64(grid.alpha), np.float64(grid.sigma)
    variance = 1.0
    for i in range(steps):
        shrink = alpha[i] * STD**2 / (alpha[i] ** 2 * STD**2 + sigma[i] ** 2)
        variance = alpha[i + 1] ** 2 * shrink**2 * variance + sigma[i + 1] ** 2
    return np.sqrt(variance)


def test_the_spread_of_a_gaussian_is_that_of_the_recursion():
    process, data = VPSDE(), Gaussian(jnp.zeros(1), jnp.full(1, STD))
    made = sample(
        jax.random.key(0), process, data, Renoising(), uniform_grid(process, 20, t_end=1e-3),
        (20000, 1), denoise="none",
    )  # fmt: skip
    want = spread(process, 20)
    assert float(made.x.std()) == pytest.approx(want, rel=4 / np.sqrt(40000))
    assert want < 0.95 * STD


def test_with_many_steps_it_tends_to_one_over_the_square_root_of_two():
    assert spread(VPSDE(), 100_000) == pytest.approx(STD / np.sqrt(2), rel=0.01)


def test_data_of_one_point_are_exact():
    process, data = VPSDE(), Gaussian(jnp.array([0.7]), jnp.zeros(1))
    grid = end_clean(uniform_grid(process, 5, t_end=0.1))
    made = sample(jax.random.key(0), process, data, Renoising(), grid, (8, 1), denoise="none")
    np.testing.assert_allclose(made.x, 0.7, rtol=1e-5)


def published(x, eps, z, i, new):
    """The published step from level i to i - 1, equations (12) and (9), in numpy."""
    beta = 0.02 + np.geomspace(1e-5, 0.4, 60)
    bar = np.concatenate([[1.0], np.cumprod(1 - beta)])
    if new:
        kept = (x - np.sqrt(1 - bar[i]) * eps) / np.sqrt(1 - beta[i - 1])
        return kept + np.sqrt(1 - bar[i - 1]) * z
    kept = (x - beta[i - 1] / np.sqrt(1 - bar[i]) * eps) / np.sqrt(1 - beta[i - 1])
    return kept + np.sqrt(beta[i - 1]) * z * (i > 1)


@pytest.mark.parametrize("new", [True, False])
def test_the_steps_are_those_of_the_paper(new):
    process, data = HandwritingSchedule(), Gaussian(jnp.array([0.3]), jnp.array([0.8]))
    solver = Renoising() if new else PredictorCorrector(Ancestral("large"), NoCorrector())
    grid = end_clean(uniform_grid(process, 59, t_end=1 / 60))
    x, z = jnp.array([[0.4], [-1.2]]), jnp.array([[0.1], [0.7]])
    for index in (0, 30, 59):
        node, node_next = (
            type(grid)(*(jnp.full(2, f[i]) for f in grid)) for i in (index, index + 1)
        )
        step = solver.step(process, data, x, node, node_next, None, lambda k: z)
        want = published(
            np.float64(x), np.float64(data(x, node).eps), np.float64(z), 60 - index, new
        )
        # Ancestral sampling draws noise in the last step too, which denoise "mean" leaves out.
        found = step.x if index < 59 else step.x_mean
        np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-6)


def test_the_last_steps_may_be_quiet():
    process, data = HandwritingSchedule(), Gaussian(jnp.zeros(1), jnp.ones(1))
    solver = Renoising(quiet_until=1 / 60 + 1e-6)
    node, quiet = process.node(jnp.full(1, 2 / 60)), process.node(jnp.full(1, 1 / 60))
    step = lambda z: solver.step(process, data, jnp.ones((1, 1)), node, quiet, None, lambda k: z)  # noqa: E731
    np.testing.assert_array_equal(step(jnp.ones((1, 1))).x, step(jnp.zeros((1, 1))).x)
