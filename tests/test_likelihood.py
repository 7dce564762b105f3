"""Likelihood against closed forms: Gaussians and mixtures, exact under every process."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm
from solver_cases import PROCESSES

import likelihood
from likelihood import importance_bound, log_likelihood
from oracles import Gaussian, Mixture
from parameterization import from_score
from sde_lib import VESDE, VPSDE
from solvers import runge_kutta

GAUSSIAN = Gaussian(jnp.array([1.0, -2.0, 0.5]), jnp.array([0.5, 1.5, 1.0]))
MIXTURE = Mixture(
    jnp.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]]), 0.5, jnp.array([0.5, 0.3, 0.2])
)
# In four dimensions, so that probes have something to be wrong about.
WIDE = Mixture(
    jnp.array([[1.0, 0.0, 1.0, -1.0], [-1.0, 1.0, 0.5, 0.0], [0.0, -1.0, -1.0, 1.0]]),
    0.5,
    jnp.array([0.4, 0.3, 0.3]),
)
# A discrete schedule's velocity jumps at its levels, over which steps of any order are less exact:
# at a thousand levels as much as ALLOWED; at sixty, where the jumps are larger, the latents are off
# by 0.01 (those of SciPy's RK45 at the same tolerance by 0.016), and the density there likewise.
ALLOWED, WITH_LARGE_JUMPS = 6e-3, {"handwriting": 4e-2}
OPTIONS = {"ve": {"sigma_max": 10.0}, "smld": {"sigma_max": 10.0}}


def made(name):
    return PROCESSES[name](**OPTIONS.get(name, {}))


def node_at(process, t, x):
    return process.node(jnp.full(len(x), t))


def flow_density(data, process, x, latent):
    """log p of the exact flow: the data's own density, with the prior in place of p_{t_max}."""
    exact = data.log_prob(node_at(process, process.t_min, x), x)
    end = node_at(process, process.t_max, x)
    return exact + process.prior_logp(latent) - data.log_prob(end, latent)


@pytest.mark.one_in(14)
@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("data", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_exact_divergence_gives_the_exact_density(name, data):
    process = made(name)
    x = data.sample(jax.random.key(0), 16)
    result = log_likelihood(jax.random.key(1), process, data, x, probe="exact")
    exact = flow_density(data, process, x, result.latent)
    np.testing.assert_allclose(result.value, exact, atol=WITH_LARGE_JUMPS.get(name, ALLOWED))
    assert result.ok.all() and (result.error == 0).all()
    assert result.each.shape == (16, 1)


@pytest.mark.one_in(14)
@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_the_exact_value_lies_within_the_error_bars(name, probe):
    """Of 512 samples, each with probes of its own, 95 % within 1.96 errors; 5 sigma is 4.8 %."""
    process = made(name)
    x = WIDE.sample(jax.random.key(0), 512)
    result = log_likelihood(
        jax.random.key(1), process, WIDE, x, probe=probe, num_probes=64, rtol=1e-4, atol=1e-4
    )
    z = (result.value - flow_density(WIDE, process, x, result.latent)) / result.error
    covered = float(jnp.mean(jnp.abs(z) < 1.96))
    assert 0.91 < covered < 0.99
    assert abs(float(jnp.mean(z))) < 0.25
    np.testing.assert_allclose(result.each.mean(1), result.value, atol=1e-4)


@pytest.mark.parametrize("cut_at", [1, 3])
def test_telling_how_far_it_is_changes_no_bit_and_compiles_nothing_twice(cut_at, monkeypatch):
    process, x = VPSDE(), GAUSSIAN.sample(jax.random.key(0), 5)
    pace = SimpleNamespace(rounds=cut_at, took=lambda seconds: None)
    monkeypatch.setattr(runge_kutta, "Pace", lambda: pace)
    before = likelihood._solve._cache_size()
    whole = log_likelihood(jax.random.key(1), process, GAUSSIAN, x)
    programs = likelihood._solve._cache_size() - before
    calls = []
    reported = log_likelihood(
        jax.random.key(1), process, GAUSSIAN, x, progress=lambda *call: calls.append(call)
    )
    jax.tree.map(np.testing.assert_array_equal, whole, reported)
    assert programs <= 2 and likelihood._solve._cache_size() - before == programs
    done = [part for part, _ in calls]
    assert done[0] == 0 and done[-1] == runge_kutta.PARTS and done == sorted(done)
    # A step has six evaluations, the beginning two; the slowest sample sets the pace.
    steps = (int(whole.evaluations.max()) - 2) // 6
    assert len(calls) == pytest.approx(steps / cut_at + 1, abs=2)


def test_a_sample_that_is_lost_is_not_waited_for():
    calls, x = [], jnp.full((2, 3), jnp.nan).at[0].set(0.5)
    progress = lambda *c: calls.append(c)  # noqa: E731
    with pytest.warns(UserWarning, match="not finite: sample 1"):
        found = log_likelihood(
            jax.random.key(1), VPSDE(), GAUSSIAN, x, throw=False, progress=progress
        )
    assert found.ok.tolist() == [True, False] and calls[-1] == (1000, 1000)


def test_what_is_cut_off_at_t_min():
    """The value is log p of x_{t_min}; its distance to log p of x_0 falls with sigma(t_min)^2."""
    process, x = VPSDE(), GAUSSIAN.sample(jax.random.key(0), 16)
    clean = node_at(process, 0.0, x)
    gaps, variances = [], []
    for t_min in (4e-3, 1e-3):
        node = node_at(process, t_min, x)
        end = node_at(process, 1.0, x)
        found = log_likelihood(jax.random.key(1), process, GAUSSIAN, x, probe="exact", t_min=t_min)
        prior = process.prior_logp(found.latent) - GAUSSIAN.log_prob(end, found.latent)
        np.testing.assert_allclose(found.value - prior, GAUSSIAN.log_prob(node, x), atol=1e-3)
        gaps.append(float(jnp.abs(found.value - prior - GAUSSIAN.log_prob(clean, x)).max()))
        variances.append(float(node.sigma[0] ** 2))
    assert gaps[0] / gaps[1] == pytest.approx(variances[0] / variances[1], rel=0.4)


def test_a_flow_that_ends_before_t_max_has_the_prior_of_its_end():
    """sigma there is far above the data's and far below the prior's."""
    process, data = VESDE(0.01, 50.0), Gaussian(jnp.zeros(2), jnp.full(2, 0.05))
    x = data.sample(jax.random.key(0), 8)
    found = log_likelihood(jax.random.key(1), process, data, x, probe="exact", t_max=0.7)
    want = data.log_prob(node_at(process, process.t_min, x), x)
    np.testing.assert_allclose(found.value, want, atol=0.01)


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
        ({"max_steps": 0}, "max_steps"),
        ({"t_max": 2.0}, "t_max"),
        ({"constraint": lambda x, node, noise: x}, "constraint"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        log_likelihood(jax.random.key(0), VPSDE(), GAUSSIAN, jnp.zeros((1, 3)), **options)


def test_a_step_budget_that_runs_out_is_flagged():
    x = MIXTURE.sample(jax.random.key(0), 2)
    with pytest.warns(UserWarning, match="did not reach the end in max_steps: sample 0 at t = "):
        result = log_likelihood(jax.random.key(1), VPSDE(), MIXTURE, x, max_steps=2)
    assert not result.ok.any()


def test_a_sample_that_is_lost_is_named_with_its_time():
    def score_fn(x, t):
        return jnp.where((t[:, None] > 0.4) & (x[:, :1] > 1), jnp.nan, -x)

    x, predict = jnp.array([[0.5, 0.0], [1.5, 0.0]]), from_score(score_fn)
    with pytest.raises(FloatingPointError, match=r"not finite: sample 1 at t = 0\.[34]"):
        log_likelihood(jax.random.key(0), VPSDE(), predict, x)
    with pytest.warns(UserWarning, match="samples that are not finite: sample 1"):
        result = log_likelihood(jax.random.key(0), VPSDE(), predict, x, throw=False)
    assert result.ok.tolist() == [True, False]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("probe", ["rademacher", "exact"])
def test_a_padded_sequence_has_the_density_that_it_has_alone(probe):
    """Probes of a prefix are the prefix of the probes, since they are drawn from one key."""
    data = Gaussian(jnp.array([0.5, -0.2]), jnp.array([0.5, 1.0]))
    lengths, longest, process = (3, 6), 8, VESDE(0.01, 10.0)
    mask = (jnp.arange(longest) < jnp.array(lengths)[:, None])[..., None]
    x = 0.7 * jax.random.normal(jax.random.key(0), (2, longest, 2))

    def predict(x, node, cond):
        """Exact where the sequence is real, and a function of all of x in the padding."""
        found = data(x, node)
        if "mask" not in cond:
            return found
        away = jnp.where(cond["mask"], 0.0, 1.0 + jnp.sum(x, axis=(1, 2), keepdims=True))
        return found._replace(x_0=found.x_0 + away, eps=found.eps + away)

    keys = jax.random.split(jax.random.key(2), 2)
    together = log_likelihood(keys, process, predict, x, cond={"mask": mask}, probe=probe)
    for i, n in enumerate(lengths):
        one = slice(i, i + 1)
        alone = log_likelihood(keys[one], process, predict, x[one, :n], probe=probe)
        np.testing.assert_allclose(together.value[one], alone.value, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(together.latent[one, :n], alone.latent, atol=1e-4)
        np.testing.assert_array_equal(together.latent[i, n:], 0.0)
        assert together.evaluations[i] == alone.evaluations[0]


class Grey:
    """Gaussian data in eight dimensions on a scale where a grey level is 1 wide."""

    data = Gaussian(jnp.linspace(0.2, 1.1, 8), jnp.full(8, 0.4))

    @classmethod
    def levels(cls, key, n):
        return jnp.floor(cls.data.sample(key, n))

    @classmethod
    def log_probability(cls, k, node):
        """log P(k): the density, integrated over the bin."""
        mean, variance = cls.data.marginal(node, k)
        std = jnp.sqrt(variance)
        mass = norm.cdf((k + 1 - mean) / std) - norm.cdf((k - mean) / std)
        return jnp.sum(jnp.log(mass), axis=1)

    @classmethod
    def dequantized(cls, key, k, draws):
        """Densities of uniform draws in the bins, (n, draws)."""
        clean = VPSDE().node(jnp.zeros(len(k)))
        y = k[:, None] + jax.random.uniform(key, (len(k), draws, k.shape[1]))
        flat = y.reshape(-1, k.shape[1])
        node = VPSDE().node(jnp.zeros(len(flat)))
        return cls.data.log_prob(node, flat).reshape(len(k), draws), cls.log_probability(k, clean)


def test_more_draws_tighten_the_bound():
    k = Grey.levels(jax.random.key(0), 2000)
    log_p, exact = Grey.dequantized(jax.random.key(1), k, 64)
    gaps = []
    for draws in (1, 4, 16, 64):
        bound, error = importance_bound(log_p[:, :draws, None])
        gaps.append(float(jnp.mean(exact - bound)))
        assert (error == 0).all()
    np.testing.assert_allclose(importance_bound(log_p[:, :1, None])[0], log_p[:, 0], atol=1e-5)
    assert gaps[0] > 2 > gaps[1] > gaps[2] > gaps[3] > 0


@pytest.mark.parametrize("noise", [0.1, 1.0, 5.0])
def test_noise_of_the_probes_does_not_lift_the_bound(noise):
    """As it does lift the logarithm of the mean of their exponentials."""
    k, shape = Grey.levels(jax.random.key(0), 2000), (2000, 16, 4)
    log_p, exact = Grey.dequantized(jax.random.key(1), k, 16)
    best = importance_bound(log_p[:, :, None])[0]
    noisy = log_p[..., None] + noise * jax.random.normal(jax.random.key(2), shape)
    bound, error = importance_bound(noisy)
    gap = best - bound
    assert float(gap.mean()) > -4 * float(gap.std()) / math.sqrt(2000)
    assert float((exact - bound).mean()) > 0
    if noise == 5.0:
        naive = jax.nn.logsumexp(noisy.mean(2), axis=1) - math.log(16)
        assert float((naive - exact).mean()) > 0  # what is avoided
    else:
        assert float((exact - bound).mean()) < float((exact - log_p[:, 0]).mean())
    assert error.shape == (2000,) and (error > 0).all()


@pytest.mark.slow
def test_a_bound_of_solved_likelihoods_is_below_the_probability():
    k, draws = Grey.levels(jax.random.key(0), 256), 8
    process = VPSDE()
    y = k[:, None] + jax.random.uniform(jax.random.key(1), (256, draws, 8))
    each = jnp.stack(
        [
            log_likelihood(
                jax.random.key(2), process, Grey.data, y[:, j], probe="gaussian", num_probes=4,
                rtol=1e-3, atol=1e-3,
            ).each
            for j in range(draws)
        ],
        axis=1,
    )  # fmt: skip
    exact = Grey.log_probability(k, node_at(process, process.t_min, k))
    uniform = each[:, 0].mean(-1)
    bound, _ = importance_bound(each)
    assert float(uniform.mean()) < float(bound.mean()) < float(exact.mean())
