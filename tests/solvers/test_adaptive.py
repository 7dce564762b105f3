"""Adaptive steps: budgets, counts, tolerances, and noise that rejections do not bias."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import CENTERED, UNIT, Scaled
from experiment import kinds
from oracles import Gaussian, Mixture
from sampling import sample
from sde_lib import VESDE, VPSDE
from solvers import AdaptiveODE, AdaptiveSDE
from solvers.grids import end_clean, uniform_grid
from solvers.sampler import in_space

DATA = Gaussian(jnp.tile(jnp.array([0.4, -0.2]), 8), jnp.tile(jnp.array([0.5, 1.0]), 8))
PROCESS = VPSDE()
ENDS = uniform_grid(PROCESS, 1, t_end=1e-3)


def run(solver, n=64, process=PROCESS, data=DATA, dim=16, **options):
    grid = uniform_grid(process, 1, t_end=1e-3)
    return sample(jax.random.key(0), process, data, solver, grid, (n, dim), **options)


@pytest.mark.parametrize("cls", [AdaptiveODE, AdaptiveSDE])
def test_a_budget_that_runs_out_is_said(cls):
    with pytest.warns(UserWarning, match=r"samples \[4, 5\] did not reach the end in 3 rounds"):
        made = run(cls(max_steps=3), n=2, first_index=4)
    assert not made.ok.any() and np.all(made.accepted + made.rejected == 3)


@pytest.mark.parametrize("cls, first", [(AdaptiveODE, 1), (AdaptiveSDE, 0)])
def test_every_attempt_is_paid_for(cls, first):
    """Two stages of the SDE; six of Dormand-Prince, whose first is the last of the step before."""
    made = run(cls(first_step=0.9), denoise="none")
    attempts = np.asarray(made.accepted + made.rejected)
    np.testing.assert_array_equal(made.nfe, first + cls().stages * attempts)
    assert np.all(made.rejected > 0)  # the first step was far too long


def test_the_tolerance_of_the_sde_solver_follows_the_space():
    """As published: 0.0078 in [-1, 1], 0.0039 in [0, 1] (Jolicoeur-Martineau et al. 2021)."""
    centred, unit = (in_space(AdaptiveSDE(), space) for space in (CENTERED, UNIT))
    assert (centred.atol, unit.atol) == (0.0078, 0.0039)
    assert in_space(AdaptiveSDE(atol=0.5), UNIT).atol == 0.5
    assert in_space(AdaptiveSDE(), Scaled()) == in_space(AdaptiveSDE(), None) == AdaptiveSDE()
    assert in_space(AdaptiveODE(), UNIT) == AdaptiveODE()
    np.testing.assert_array_equal(run(AdaptiveSDE()).x, run(centred).x)
    experiment = kinds.experiment(kinds.complete({"sampling": {"solver": "adaptive_sde"}}))
    assert experiment.sampler.solver.atol == 0.0039


def test_the_error_falls_with_the_tolerance():
    x = PROCESS.prior_std * jax.random.normal(jax.random.key(1), (64, 16))
    start, end = (PROCESS.node(jnp.full(64, t)) for t in (1.0, 1e-3))
    errors = []
    for tolerance in (1e-2, 1e-4, 1e-6):
        solver = AdaptiveODE(rtol=tolerance, atol=tolerance)
        made = run(solver, start=(x, start), denoise="none")
        errors.append(float(jnp.abs(made.x - DATA.flow(x, start, end)).max()))
    assert np.all(np.diff(errors) < 0) and errors[-1] < 1e-5, errors


@pytest.mark.slow
@pytest.mark.one_in(2)
@pytest.mark.parametrize("process", [VPSDE(), VESDE(0.01, 10.0)], ids=lambda p: type(p).__name__)
def test_rejections_do_not_bias_the_noise(process):
    """With a first step and tolerances that reject often, the variance is the data's.

    Noise drawn anew after a rejection would favour small increments: a variance too small.
    """
    solver = AdaptiveSDE(rtol=0.01, atol=0.002, first_step=0.5, safety=1.0)
    made = run(solver, n=1000, process=process)
    assert float(made.rejected.mean()) > 0.1 * float(made.accepted.mean())
    x = np.asarray(made.x).reshape(-1, 2)
    # 8,000 values a coordinate: 0.8 % of sampling error, and the solver's own.
    np.testing.assert_allclose(x.std(0), DATA.std[:2], rtol=0.03)
    np.testing.assert_allclose(x.mean(0), DATA.mean[:2], atol=0.03)


def test_samples_choose_their_own_steps():
    """Where a sample decides between clusters its steps are shorter."""
    mixture = Mixture(jnp.array([[-1.0], [1.0]]), 0.05, jnp.array([0.5, 0.5]))
    made = run(AdaptiveODE(rtol=1e-4, atol=1e-4), n=200, data=mixture, dim=1)
    assert int(made.nfe.max()) > 1.3 * int(made.nfe.min())
    assert made.ok.all()


def test_the_path_is_on_the_marginals():
    grid = uniform_grid(PROCESS, 9, t_end=1e-3)
    solver = AdaptiveODE()
    made = sample(jax.random.key(0), PROCESS, DATA, solver, grid, (2000, 16), frames=10)
    assert made.path.shape == (10, 2000, 16)
    for frame, t in list(zip(made.path, grid.t, strict=True))[1:-1]:
        variance = DATA.marginal(PROCESS.node(jnp.full(1, t)), made.x[:1])[1][0]
        # Frames lie on the chord of a step, a little inside.
        np.testing.assert_allclose(frame.var(0)[:2], variance[:2], rtol=0.12)


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: AdaptiveODE(rtol=0.0), "rtol: got 0.0, expected a positive number"),
        (lambda: AdaptiveSDE(atol=-1.0), "atol: got -1.0"),
        (lambda: AdaptiveSDE(max_steps=0), "max_steps: got 0"),
        (lambda: AdaptiveODE("rk4"), "method: got 'rk4', expected one of"),
        (lambda: sample(jax.random.key(0), PROCESS, DATA, AdaptiveODE(), end_clean(ENDS), (2, 16)),
         "sigma is 0, expected an end before"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
