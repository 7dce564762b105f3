"""The sampling loop and predictor-corrector: exact oracles, orders, contracts."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit
from solver_cases import make_solver

import sampling
from oracles import Gaussian, Mixture
from parameterization import from_score
from sampling import sample
from sde_lib import EDM, VESDE, VPSDE, FlowMatching, SubVPSDE
from solvers import DDIM, SOLVERS, AdaptiveODE, AdaptiveSDE, grids
from solvers.grids import uniform_grid
from solvers.predictor_corrector import (
    CORRECTORS,
    PREDICTORS,
    Ancestral,
    AnnealedLangevin,
    EulerMaruyama,
    Langevin,
    NoCorrector,
    NoPredictor,
    PredictorCorrector,
    ReverseDiffusion,
)

PROCESSES = [VESDE(0.01, 10.0), VPSDE(), SubVPSDE()]
ids = lambda process: type(process).__name__  # noqa: E731
GAUSSIAN = Gaussian(jnp.array([1.0, -0.5]), jnp.array([0.5, 1.0]))
# Langevin's step is set by norms, which settle in many dimensions.
WIDE = Gaussian(jnp.tile(GAUSSIAN.mean, 32), jnp.tile(GAUSSIAN.std, 32))


@pytest.mark.one_in(7)
@pytest.mark.parametrize("process", PROCESSES, ids=ids)
@pytest.mark.parametrize("names", itertools.product(PREDICTORS, CORRECTORS), ids="+".join)
def test_every_pair_samples_a_gaussian_on_every_process(process, names):
    """Mean and standard deviation within the discretisation error of 100 steps."""
    if names in (("none", "none"), ("none", "annealed_langevin")):
        pytest.skip("no sampler, and one too slow to converge in 100 steps")
    predictor, corrector = PREDICTORS[names[0]](), CORRECTORS[names[1]]()
    steps = 1000 if names[0] == "none" else 100
    result = sample(
        jax.random.key(0),
        process,
        WIDE,
        PredictorCorrector(predictor, corrector),
        uniform_grid(process, steps, t_end=1e-3),
        (256, 64),
    )
    x = np.asarray(result.x).reshape(-1, 2)
    np.testing.assert_allclose(x.mean(0), GAUSSIAN.mean, atol=0.1)
    np.testing.assert_allclose(x.std(0), GAUSSIAN.std, rtol=0.1)
    assert int(result.nfe[0]) == steps * (predictor.stages + corrector.num_steps) + 1


PARTS = slice(None, -1), slice(1, None)  # the nodes that steps begin and end at


@pytest.mark.parametrize(
    "predictor", [EulerMaruyama(), ReverseDiffusion(), Ancestral(), Ancestral("large")], ids=repr
)
@pytest.mark.parametrize("process", PROCESSES, ids=ids)
def test_weak_order_one(process, predictor):
    """Every step is linear for Gaussian data, so the variance after a run is known exactly.

    x' = a x + c z; a and c are read off the step itself, for all steps of a run at once, and the
    error of the final variance falls with the first power of the step.
    """
    data = Gaussian(jnp.zeros(1), jnp.full(1, 0.5))
    t_end = 0.3

    def final_variance(steps):
        grid = uniform_grid(process, steps, t_end=t_end)
        node, after = (jax.tree.map(lambda f, p=part: f[p], grid) for part in PARTS)
        one, zero = jnp.ones((steps, 1)), jnp.zeros((steps, 1))
        move = quick_jit(lambda x, z: predictor.move(process, data, x, node, after, z)[0])
        a, c = move(one, zero), move(zero, one)
        variance = float(data.marginal(node, one)[1][0, 0])
        for a_i, c_i in zip(np.asarray(a)[:, 0], np.asarray(c)[:, 0], strict=True):
            variance = float(a_i) ** 2 * variance + float(c_i) ** 2
        return variance

    end = process.node(jnp.float32(t_end))
    exact = float(data.marginal(end, jnp.zeros((1, 1)))[1][0])
    steps = np.array([50, 100, 200, 400])
    errors = np.array([abs(final_variance(int(n)) - exact) for n in steps])
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - 1) < 0.4, errors


def test_ancestral_sampling_is_exact_for_a_point():
    point = Gaussian(jnp.array([0.3, -0.7]), jnp.zeros(2))
    process = VPSDE()
    grid = uniform_grid(process, 10, t_end=1e-3)
    result = sample(
        jax.random.key(0),
        process,
        point,
        PredictorCorrector(Ancestral(), NoCorrector()),
        grid,
        (64, 2),
    )
    np.testing.assert_allclose(result.x, jnp.broadcast_to(point.mean, (64, 2)), atol=1e-4)


def test_langevin_keeps_the_marginal():
    """At a fixed level many small Langevin steps sample N(alpha m, alpha^2 s^2 + sigma^2)."""
    process, n = VPSDE(), 4000
    node = process.node(jnp.full(n, 0.3))
    mean, variance = GAUSSIAN.marginal(node, jnp.zeros((n, 2)))
    x = jax.random.normal(jax.random.key(0), (n, 2)) * jnp.sqrt(variance) + mean
    keys = jax.random.split(jax.random.key(1), 50)
    corrector = AnnealedLangevin(snr=0.1, num_steps=50)
    z = jax.vmap(lambda key: jax.random.normal(key, (n, 2)))(keys)
    x = corrector.move(process, GAUSSIAN, x, node, node, lambda k: z[k]).x
    np.testing.assert_allclose(x.mean(0), mean[0], atol=0.05)
    np.testing.assert_allclose(x.var(0), variance[0], rtol=0.1)


# The contracts of sample().

SOLVER = PredictorCorrector(ReverseDiffusion(), Langevin())
GRID = uniform_grid(VPSDE(), 12, t_end=1e-3)


def draw(n=6, **options):
    return sample(jax.random.key(3), VPSDE(), GAUSSIAN, SOLVER, GRID, (n, 2), **options)


def test_a_sample_depends_on_its_index_alone():
    whole = draw(6)
    np.testing.assert_allclose(draw(2).x, whole.x[:2], rtol=1e-5)
    np.testing.assert_allclose(draw(2, first_index=4).x, whole.x[4:], rtol=1e-5)


def test_chunks_and_frames_do_not_change_the_result():
    calls = []
    chunked = draw(chunk=5, frames=4, progress=lambda done, steps: calls.append((done, steps)))
    np.testing.assert_array_equal(chunked.x, draw().x)
    assert calls[-1] == (12, 12) and len(calls) > 2
    assert chunked.path.shape == (4, 6, 2)
    np.testing.assert_array_equal(chunked.path[-1], chunked.x)


def test_one_program_serves_every_chunk():
    before = sampling._run_chunk._cache_size()
    draw(5, chunk=1)
    assert sampling._run_chunk._cache_size() == before + 1


def test_progress_begins_when_the_rounds_are_compiled():
    programs, calls = [], []

    def progress(done, steps):
        calls.append((done, steps))
        programs.append(sampling._run_chunk._cache_size())

    before = sampling._run_chunk._cache_size()
    reported = draw(7, progress=progress)
    assert calls[0] == (0, 12) and calls == sorted(calls) and calls[-1] == (12, 12)
    assert set(programs) == {before + 1}
    np.testing.assert_array_equal(reported.x, draw(7).x)
    assert sampling._run_chunk._cache_size() == before + 1


def test_progress_is_told_about_once_a_second(monkeypatch):
    """Of a solver whose rounds take 0.3 seconds, by a clock of the test's."""
    now, calls = [0.0], []
    monkeypatch.setattr(sampling.time, "perf_counter", lambda: now[0])
    chunk = sampling._run_chunk

    def slow(process, solver, run, state, start, stop):
        now[0] += 0.3 * float(stop - start)
        return chunk(process, solver, run, state, start, stop)

    monkeypatch.setattr(sampling, "_run_chunk", slow)
    draw(progress=lambda done, steps: calls.append((done, now[0])))
    assert [done for done, _ in calls] == [0, 1, 4, 7, 10, 12]
    gaps = np.diff([seconds for _, seconds in calls])
    assert gaps.max() < 1.0


def test_evaluations_are_counted_as_they_happen():
    calls = []

    def score_fn(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return -x

    result = sample(jax.random.key(0), VPSDE(), from_score(score_fn), SOLVER, GRID, (1, 2))
    jax.effects_barrier()
    assert len(calls) == int(result.nfe[0]) == 12 * 2 + 1


def test_constraint_acts_after_every_step_and_after_denoising():
    levels = []

    def constraint(x, node, noise):
        jax.debug.callback(lambda sigma: levels.append(float(sigma)), node.sigma[0], ordered=True)
        return x.at[:, 0].set(7.0)

    result = draw(constraint=constraint)
    jax.effects_barrier()
    np.testing.assert_allclose(levels[:-1], GRID.sigma[1:], rtol=1e-5)
    assert levels[-1] == 0.0
    np.testing.assert_array_equal(result.x[:, 0], 7.0)


def test_guidance_is_a_function_of_predictors():
    target = jnp.array([4.0, 4.0])

    def towards_target(predict):
        return Gaussian(target, jnp.full(2, 0.1))

    assert float(jnp.abs(draw(guidance=towards_target).x - target).max()) < 1.5


def test_start_from_a_given_state():
    start = VPSDE().node(jnp.float32(0.2))
    grid = uniform_grid(VPSDE(), 5, t_start=0.2, t_end=1e-3)
    x = jnp.ones((3, 2))
    result = sample(jax.random.key(0), VPSDE(), GAUSSIAN, SOLVER, grid, (3, 2), start=(x, start))
    assert result.ok.all() and not np.allclose(result.x, x)


@pytest.mark.parametrize("process", [VESDE(0.01, 50.0), EDM(), FlowMatching()], ids=ids)
def test_a_run_that_begins_before_t_max_begins_at_the_noise_there(process):
    """Where the noise is far wider than the data but far narrower than the prior's, or the same."""
    data = Gaussian(jnp.full(2, 0.02), jnp.full(2, 0.05))
    t_start = {"EDM": 2.0, "FlowMatching": 0.99}.get(type(process).__name__, 0.6)
    grid = grids.log_snr_grid(process, 100, t_start=t_start, t_end=max(process.t_min, 1e-3))
    made = sample(jax.random.key(0), process, data, DDIM(), grid, (2000, 2))
    np.testing.assert_allclose(made.x.mean(0), data.mean, atol=0.01)
    np.testing.assert_allclose(made.x.std(0), data.std, rtol=0.1)


@pytest.mark.parametrize("denoise", ["tweedie", "mean", "none"])
@pytest.mark.parametrize("end", [lambda grid: grid, grids.end_clean], ids=["noisy", "clean"])
def test_a_constraint_holds_however_a_run_ends(end, denoise):
    hold = lambda x, node, noise: x.at[:, 0].set(7.0)  # noqa: E731
    made = sample(
        jax.random.key(3), VPSDE(), GAUSSIAN, DDIM(), end(GRID), (4, 2), constraint=hold,
        denoise=denoise,
    )  # fmt: skip
    np.testing.assert_array_equal(made.x[:, 0], 7.0)


def test_tweedie_is_the_posterior_mean():
    mixture = Mixture(jnp.array([[-1.0], [1.0]]), 0.1, jnp.array([0.5, 0.5]))
    node = VPSDE().node(jnp.full(1, 0.3))
    x = jnp.array([[0.4]])
    grid = np.linspace(-2, 2, 20001)
    prior = sum(np.exp(-0.5 * ((grid - m) / 0.1) ** 2) for m in (-1.0, 1.0))
    likelihood = np.exp(-0.5 * ((0.4 - float(node.alpha[0]) * grid) / float(node.sigma[0])) ** 2)
    want = np.sum(grid * prior * likelihood) / np.sum(prior * likelihood)
    assert float(mixture(x, node).x_0[0, 0]) == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("solver", [SOLVER, DDIM(), AdaptiveODE(), AdaptiveSDE()], ids=repr)
def test_a_score_that_is_not_finite_is_an_error_that_names_it(solver):
    """From t = 0.5 on the estimate for samples on one side is nan."""

    def broken(x, t):
        return jnp.where((x[:, :1] > 0) & (t[:, None] < 0.5), jnp.nan, -x)

    with pytest.raises(FloatingPointError, match=r"not finite: sample \d+ at t = 0\.[345]"):
        sample(jax.random.key(0), VPSDE(), from_score(broken), solver, GRID, (8, 2))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"denoise": "yes"}, "denoise"),
        ({"grid": jax.tree.map(lambda f: f[::-1], GRID)}, "fall"),
        ({"grid": jax.tree.map(lambda f: f[:1], GRID)}, "grid"),
        ({"grid": jax.tree.map(lambda f: f.at[5].set(jnp.nan), GRID)}, "fall"),
        ({"solver": PredictorCorrector(NoPredictor(), NoCorrector())}, "neither"),
        ({"solver": PredictorCorrector(ReverseDiffusion(faithful=6))}, "faithful|beta_max"),
        ({"start": (jnp.zeros((1, 2)), VPSDE().node(jnp.float32(1.0)))}, "shape"),
        ({"start": (jnp.zeros((6, 2)), VPSDE().node(jnp.float32(0.5)))}, "begins"),
    ],
)
def test_bad_runs_are_refused(options, match):
    call = {"solver": SOLVER, "grid": GRID} | options
    with pytest.raises(ValueError, match=match):
        sample(jax.random.key(0), VPSDE(), GAUSSIAN, shape=(6, 2), **call)


@pytest.mark.parametrize("corrector", [Langevin(faithful=12), AnnealedLangevin(faithful=12)])
def test_faithful_choices_refuse_a_process_without_a_chain(corrector):
    solver = PredictorCorrector(EulerMaruyama(), corrector)
    with pytest.raises(ValueError, match="faithful: SubVPSDE"):
        sample(jax.random.key(0), SubVPSDE(), GAUSSIAN, solver, GRID, (2, 2))


@pytest.mark.parametrize("steps", [0, -3])
def test_an_empty_grid_is_refused(steps):
    with pytest.raises(ValueError, match="num_steps"):
        uniform_grid(VPSDE(), steps)
    with pytest.raises(ValueError, match="t_end"):
        uniform_grid(VPSDE(), 10, t_end=2.0)


# Grids.


@pytest.mark.parametrize("name", grids.GRIDS)
@pytest.mark.parametrize("process", [VPSDE(), VESDE(0.01, 10.0), EDM(), FlowMatching()], ids=ids)
def test_grids_fall_from_one_end_to_the_other(process, name):
    t_end = process.t_min
    grid = grids.GRIDS[name]()(process, 12, t_end=t_end)
    t = np.asarray(grid.t)
    assert t[0] == np.float32(process.t_max) and t[-1] == np.float32(t_end) and t.size == 13
    assert np.all(np.diff(t[:-1]) < 0)
    np.testing.assert_allclose(grid.sigma, process.sigma(grid.t), rtol=1e-6)


def test_grids_are_even_in_what_they_say():
    process = VPSDE()
    ratio = lambda grid: np.asarray(grid.sigma / grid.alpha, np.float64)  # noqa: E731
    even = lambda values: np.testing.assert_allclose(np.diff(values), np.diff(values)[0], rtol=2e-2)  # noqa: E731
    even(np.log(ratio(grids.log_snr_grid(process, 20, t_end=1e-3))))
    even(ratio(grids.edm_grid(process, 20, t_end=1e-3)) ** (1 / 7))
    even(np.sqrt(np.asarray(grids.quadratic_grid(process, 20, t_end=0.0).t)))
    even(np.arccos(1 - np.asarray(grids.cosine_grid(process, 20, t_end=0.0).t)))


def test_edm_grid_is_the_published_one():
    """Karras et al. 2022, eq. 5, with rho 7 and the published ends."""
    i = np.arange(18)
    want = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    grid = grids.end_clean(grids.edm_grid(EDM(), 17))
    np.testing.assert_allclose(grid.t[:-1], want, rtol=1e-4)
    np.testing.assert_array_equal([grid.t[-1], grid.alpha[-1], grid.sigma[-1]], [0.0, 1.0, 0.0])


def test_a_run_to_the_clean_node_needs_no_denoising():
    grid = grids.end_clean(uniform_grid(VPSDE(), 12, t_end=1e-3))
    clean = sample(jax.random.key(3), VPSDE(), GAUSSIAN, DDIM(), grid, (4, 2))
    short = uniform_grid(VPSDE(), 12, t_end=1e-3)
    denoised = sample(jax.random.key(3), VPSDE(), GAUSSIAN, DDIM(), short, (4, 2))
    np.testing.assert_allclose(clean.x, denoised.x, rtol=1e-5, atol=1e-6)
    assert clean.nfe[0] == denoised.nfe[0] == 13


# Brownian paths.


def test_increments_of_a_path_add_up():
    noise = sampling.KeyedNoise(jax.random.split(jax.random.key(0), 3000))
    at = lambda t: jnp.full(3000, t)  # noqa: E731
    between = lambda a, b: noise.brownian(at(a), at(b), (jnp.float32(0), jnp.float32(2)), (3000, 2))  # noqa: E731
    first, second, both = between(0.3, 0.9), between(0.9, 1.3), between(0.3, 1.3)
    np.testing.assert_allclose(first + second, both, atol=1e-5)
    np.testing.assert_allclose([first.var(), second.var(), both.var()], [0.6, 0.4, 1.0], rtol=0.06)
    assert abs(float(jnp.mean(first * second))) < 0.02


def test_recorded_draws_are_no_path():
    noise = sampling.ReplayedNoise(jnp.zeros((6, 2)), jnp.zeros((12, 2, 6, 2)))
    with pytest.raises(ValueError, match="noise: recorded draws"):
        sample(jax.random.key(0), VPSDE(), GAUSSIAN, AdaptiveSDE(), GRID, (6, 2), noise=noise)


# Recorded noise.

START, HOLD = jnp.zeros((6, 2)), jax.tree_util.Partial(lambda x, node, noise: x)


@pytest.mark.parametrize(
    "noise, constraint, match",
    [
        (((11, 2),), None, "noise: got draws of 11 steps, expected at least 12"),
        (((12, 1),), None, "noise: got 1 draws a step for the solver, expected more than 1"),
        (((12, 2),), HOLD, "noise: got 0 draws a step for the constraint, expected more than 0"),
        (((12, 2), (12, 1)), HOLD, "noise: got control of 12 steps, expected at least 13"),
    ],
)
def test_noise_that_was_not_recorded_is_refused(noise, constraint, match):
    source = sampling.ReplayedNoise(START, *(jnp.zeros((*n, 6, 2)) for n in noise))
    with pytest.raises(ValueError, match=match):
        draw(noise=source, constraint=constraint)


def test_a_step_past_the_recorded_ones_is_not_a_number():
    noise = sampling.ReplayedNoise(START, jnp.ones((3, 1, 6, 2)))
    np.testing.assert_array_equal(noise(jnp.int32(2), 0, (6, 2)), 1.0)
    assert np.isnan(noise(jnp.int32(3), 0, (6, 2))).all()
    assert np.isnan(noise(jnp.array([0, 1, 2, 3, 2, 1]), 0, (6, 2))).all(1).tolist() == [
        False, False, False, True, False, False,
    ]  # fmt: skip


def test_a_constraint_has_recorded_draws_of_its_own():
    seen = []

    def constraint(x, node, noise):
        jax.debug.callback(lambda z: seen.append(float(z[0, 0])), noise, ordered=True)
        return x

    control = jnp.arange(13.0)[:, None, None, None] * jnp.ones((1, 1, 6, 2))
    noise = sampling.ReplayedNoise(START, -jnp.ones((12, 2, 6, 2)), control)
    draw(noise=noise, constraint=constraint)
    jax.effects_barrier()
    assert seen == list(range(13))


# What else the predictor gives.


@dataclasses.dataclass(frozen=True)
class WithTime:
    """Exact predictions that say at which time they were made."""

    def __call__(self, x, node, cond):
        return GAUSSIAN(x, node)._replace(aux={"t": node.t})


# From the end of the grid, the node of the last evaluation; adaptive solvers go there directly.
LAST = {"euler": 2, "heun": 1, "ddim": 2, "dpm": 2, "picard": 2, "pc": 2, "stochastic_heun": 1,
        "ode": 1, "adaptive_sde": 1, "renoising": 2}  # fmt: skip


@pytest.mark.parametrize("name", SOLVERS)
def test_a_run_returns_what_its_last_evaluation_gave(name):
    make = functools.partial(
        sample, jax.random.key(0), VPSDE(), WithTime(), make_solver(name, 12), GRID, (3, 2)
    )
    np.testing.assert_allclose(make(denoise="none").aux["t"], GRID.t[-LAST[name]], rtol=1e-5)
    np.testing.assert_allclose(make().aux["t"], GRID.t[-1], rtol=1e-5)


def test_a_predictor_of_nothing_else_gives_no_aux():
    assert draw(denoise="none").aux == {} and draw().aux == {}
