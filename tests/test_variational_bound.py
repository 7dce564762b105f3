"""The bound of a chain: closed forms on Gaussian data, what it bounds, and how it approaches it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit
from scipy.special import ndtr

from options.errors import InvalidValue
from oracles import Gaussian
from parameterization import MASK, Prediction
from sde_lib import (
    EDM,
    VESDE,
    VPSDE,
    DDPMSchedule,
    FlowMatching,
    Node,
    SubVPSDE,
    posterior_of,
    transition,
)
from solvers.grids import log_snr_grid, uniform_grid
from variational_bound import (
    Chain,
    DiscretizedGaussian,
    GaussianDecoder,
    chain_bound,
    prior_term,
    step_term,
)

DATA = Gaussian(jnp.array([0.3, -0.2]), jnp.array([0.5, 0.9]))
PROCESSES = {
    "ve": (VESDE(0.01, 50.0), {}),
    "vp": (VPSDE(), {"t_end": 1e-3}),
    "subvp": (SubVPSDE(), {"t_end": 1e-2}),
    "flow": (FlowMatching(), {"t_start": 0.99, "t_end": 0.02}),
    "ddpm": (DDPMSchedule(100), {}),
}
# A quadratic form of a standard normal has its mean at the points -1 and 1; so has one of x_0.
SIGNS = [(a, b) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
X_0 = jnp.stack([DATA.mean + a * DATA.std for a, _ in SIGNS])
EPS = jnp.stack([jnp.full(2, b) for _, b in SIGNS])


@functools.partial(quick_jit, static_argnums=(0, 2))
def expected_terms(process, grid: Node, variance: str) -> jax.Array:
    """L_T, L_{T-1} .. L_0, summed over coordinates: exact means, by the code under test."""
    n, points = len(grid.t), len(SIGNS)
    node = Node(*(jnp.repeat(field, points) for field in grid))
    x_0, eps = jnp.tile(X_0, (n, 1)), jnp.tile(EPS, (n, 1))
    found = DATA(node.alpha[:, None] * x_0 + node.sigma[:, None] * eps, node)
    end = Node(*(jnp.append(field[points:], field[-points:]) for field in node))
    steps = step_term(found, x_0, end, variance)[:-points]
    log_variance = 2 * jnp.log(node.sigma)[:, None] + jnp.zeros_like(x_0)
    decoded = -GaussianDecoder().log_prob(x_0, found.x_0, log_variance)[-points:]
    first = prior_term(process, X_0, Node(*(field[0] for field in grid)))
    terms = jnp.concatenate([first, steps, decoded]).reshape(-1, points, 2)
    return jnp.sum(jnp.mean(terms, axis=1), axis=1)


def closed_terms(grid: Node, variance: str, prior_std: float) -> list[float]:
    """The same from the variances alone, in float64: x_0 - E[x_0 | x_t] has the variance
    s^2 sigma^2 / (alpha^2 s^2 + sigma^2) under the data."""
    alpha, sigma = (np.asarray(field, np.float64) for field in grid[1:])
    m, s2 = np.float64(DATA.mean), np.float64(DATA.std) ** 2

    def kl(square, q, p):
        return float(np.sum(0.5 * (square / p + q / p - np.log(q / p) - 1)))

    a, p2 = alpha[0], prior_std**2
    terms = [kl(a**2 * (m**2 + s2), sigma[0] ** 2, p2)]
    for i in range(len(alpha) - 1):
        r = alpha[i] / alpha[i + 1]
        b = sigma[i] ** 2 - r**2 * sigma[i + 1] ** 2
        q = b * sigma[i + 1] ** 2 / sigma[i] ** 2
        left = s2 * sigma[i] ** 2 / (alpha[i] ** 2 * s2 + sigma[i] ** 2)
        weight = alpha[i + 1] * b / sigma[i] ** 2
        terms.append(kl(weight**2 * left, q, {"small": q, "large": b}[variance]))
    left = s2 * sigma[-1] ** 2 / (alpha[-1] ** 2 * s2 + sigma[-1] ** 2)
    v = sigma[-1] ** 2
    terms.append(float(np.sum(0.5 * (left / v + np.log(2 * np.pi * v)))))
    return terms


@pytest.mark.one_in(3)
@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("name", PROCESSES)
def test_every_term_is_its_closed_form(name, variance):
    process, ends = PROCESSES[name]
    steps = 99 if name == "ddpm" else 12
    grid = uniform_grid(process, steps, **ends)
    prior_std = float(process.prior_std_at(grid.t[0]))
    want = closed_terms(grid, variance, prior_std)
    np.testing.assert_allclose(expected_terms(process, grid, variance), want, rtol=2e-3, atol=1e-4)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", ["ve", "vp"])
def test_the_drawn_bound_has_that_mean_and_an_example_its_own_noise(name):
    process, ends = PROCESSES[name]
    grid, n = uniform_grid(process, 6, **ends), 4000
    x_0, keys = DATA.sample(jax.random.key(0), n), jax.random.split(jax.random.key(1), n)
    found = chain_bound(keys, Chain(process, grid), DATA, x_0)
    assert found.steps.shape == (n, 6)
    want = closed_terms(grid, "small", process.prior_std)
    for got, expected in zip((found.prior, *found.steps.T, found.decoder), want, strict=True):
        error = float(jnp.std(got)) / np.sqrt(n)
        assert float(jnp.mean(got)) == pytest.approx(expected, abs=4 * error + 1e-4)
    alone = chain_bound(keys[7:9], Chain(process, grid), DATA, x_0[7:9])
    np.testing.assert_allclose(alone.total, found.total[7:9], rtol=1e-5)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("variance, order", [("small", 1.0), ("large", 1.0)])
def test_it_lies_above_the_exact_value_and_approaches_it_with_the_steps(variance, order):
    """Even in log-SNR from 0.001 to 1000 sigma: what is left at the ends is below 1e-5 nats."""
    process = EDM(t_min=1e-3, t_max=1000.0)
    exact = float(jnp.sum(0.5 * jnp.log(2 * jnp.pi * jnp.e * DATA.std**2)))
    counts = [50, 100, 200, 400]
    gaps = []
    for count in counts:
        grid = log_snr_grid(process, count)
        gaps.append(sum(closed_terms(grid, variance, process.prior_std)) - exact)
        got = float(jnp.sum(expected_terms(process, grid, variance))) - exact
        assert got == pytest.approx(gaps[-1], abs=2e-3)
    assert min(gaps) > 0
    slope = np.polyfit(np.log(counts), np.log(gaps), 1)[0]
    assert slope == pytest.approx(-order, abs=0.1)


def test_the_levels_of_a_schedule_are_those_of_its_chain():
    """Ho et al. 2020, eq. 2 and 7: r = sqrt(1 - beta_t) and the posterior's variance beta~_t."""
    process = DDPMSchedule(100)
    grid, betas = uniform_grid(process, 99), np.asarray(process.betas(), np.float64)[::-1]
    gone = np.cumprod(1 - betas[::-1])[::-1]
    node, end = (Node(*(f[i] for f in grid)) for i in (slice(None, -1), slice(1, None)))
    tilde = betas[:-1] * (1 - gone[1:]) / (1 - gone[:-1])
    np.testing.assert_allclose(posterior_of(node, end).variance, tilde, rtol=2e-4)
    np.testing.assert_allclose(grid.sigma[-1] ** 2, betas[-1], rtol=1e-4)


def test_learned_variances_lie_between_the_two():
    """log v_t is interpolated (Nichol & Dhariwal 2021, eq. 15): 0 is small and 1 is large."""
    process = VPSDE()
    node, end = (process.node(jnp.full(len(X_0), t)) for t in (0.5, 0.4))
    found = DATA(node.alpha[:, None] * X_0 + node.sigma[:, None] * EPS, node)

    def term(value):
        learned = found._replace(aux={"variance": jnp.full(X_0.shape, value)})
        return step_term(learned, X_0, end, "learned")

    for value, variance in ((0.0, "small"), (1.0, "large")):
        np.testing.assert_allclose(term(value), step_term(found, X_0, end, variance), rtol=1e-5)
    v, small, b = 0.3, posterior_of(node, end).variance[0], transition(node, end)[1][0]
    log_v = v * np.log(b) + (1 - v) * np.log(small)
    square = (posterior_of(node, end).x_0[0] * (X_0 - found.x_0)) ** 2
    want = 0.5 * (square / np.exp(log_v) + small / np.exp(log_v) - 1 - np.log(small) + log_v)
    np.testing.assert_allclose(term(v), want, rtol=1e-4)


def test_data_that_are_known_cost_the_prior_term_alone():
    process, x_0 = VPSDE(), jnp.full((3, 4), 2 * 100 / 255 - 1)

    def knows(x, node, cond):
        return Prediction(x_0, (x - node.alpha[:, None] * x_0) / node.sigma[:, None], node)

    keys, grid = jax.random.split(jax.random.key(0), 3), uniform_grid(process, 10, t_end=1e-5)
    small, large = (Chain(process, grid, v, DiscretizedGaussian()) for v in ("small", "large"))
    found, exact = chain_bound(keys, large, knows, x_0), chain_bound(keys, small, knows, x_0)
    np.testing.assert_allclose(exact.steps, 0, atol=1e-6)
    assert (found.steps > exact.steps).all()  # by the variance, which is too large
    mass = 1 - 2 * ndtr(-1 / 255 / float(grid.sigma[-1]))
    np.testing.assert_allclose(found.decoder, -4 * np.log(mass), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 0.02, 0.5])
def test_the_decoder_is_a_distribution_over_grey_levels(scale):
    levels = np.linspace(-1, 1, 256)
    for mean in (-1.0, -0.3, 0.998):
        log_p = DiscretizedGaussian().log_prob(
            jnp.float32(levels), jnp.full(256, mean), jnp.full(256, 2 * np.log(scale))
        )
        assert float(jnp.sum(jnp.exp(log_p))) == pytest.approx(1.0, abs=1e-4)
        edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
        mass = np.diff(ndtr((edges - mean) / scale))
        near = mass > 1e-6
        np.testing.assert_allclose(np.exp(log_p)[near], mass[near], rtol=5e-3)


def test_padding_adds_nothing():
    process, grid = VPSDE(), uniform_grid(VPSDE(), 4, t_end=1e-2)
    x_0, keys = DATA.sample(jax.random.key(0), 3), jax.random.split(jax.random.key(1), 3)
    mask = jnp.array([[1.0, 0.0]] * 3)
    known = x_0 * mask

    def knows_the_rest(x, node, cond):
        """Errs by 1 in the padding, and nowhere else."""
        return Prediction(known + (1 - mask), x, node)

    chain = Chain(process, grid)
    found = chain_bound(keys, chain, knows_the_rest, known, cond={MASK: mask})
    np.testing.assert_allclose(found.steps, 0, atol=1e-6)
    first = Node(*(field[0] for field in grid))
    np.testing.assert_allclose(found.prior, prior_term(process, known, first)[:, 0], rtol=1e-5)


@pytest.mark.parametrize("options, grid, message", [
    ({"variance": "learned"}, {}, "variance: got 'learned'.*predicts none"),
    ({"variance": "huge"}, {}, "variance: got 'huge'"),
    ({}, {"sigma": jnp.array([1.0, 0.5, 0.0])}, "grid: .*noisy last node"),
    ({}, {"sigma": jnp.ones(3), "alpha": jnp.ones(3)}, "grid: .*noise that falls"),
])  # fmt: skip
def test_what_has_no_bound_is_refused(options, grid, message):
    nodes = uniform_grid(VPSDE(), 2, t_end=0.1)._replace(**grid)
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(InvalidValue, match=message):
        chain_bound(keys, Chain(VPSDE(), nodes, **options), DATA, jnp.zeros((2, 2)))
