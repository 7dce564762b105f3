"""Plain functions of (x, t) as predictors: a Gaussian by its score, noise, data and velocity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sampling
from likelihood import log_likelihood
from options.errors import InvalidValue
from oracles import Gaussian
from parameterization import from_denoiser, from_noise, from_score, from_velocity
from sde_lib import VESDE, VPSDE, FlowMatching
from solvers import DDIM, probability_flow
from solvers.grids import uniform_grid
from solvers.sampler import Sampler

GAUSSIAN = Gaussian(jnp.array([1.0, -2.0]), jnp.array([0.5, 2.0]))
AS_GIVEN = {"score": "score", "noise": "eps", "denoiser": "x_0"}


def functions(process):
    """The Gaussian as plain functions of (x, t), each with its wrapper."""
    found = lambda x, t: GAUSSIAN(x, process.node(t))  # noqa: E731
    return {
        "score": from_score(lambda x, t: found(x, t).score),
        "noise": from_noise(lambda x, t: found(x, t).eps),
        "denoiser": from_denoiser(lambda x, t: found(x, t).x_0),
        "velocity": from_velocity(lambda x, t: found(x, t).velocity(process), process),
    }


@pytest.mark.parametrize("process", [VPSDE(), FlowMatching(), VESDE()], ids=str)
@pytest.mark.parametrize("kind", ["score", "noise", "denoiser", "velocity"])
def test_a_plain_function_is_a_predictor_by_what_it_gives(process, kind):
    predict, t = functions(process)[kind], jnp.array([0.1, 0.5, 0.95])
    node = process.node(t)
    x = 2.0 * jax.random.normal(jax.random.key(0), (3, 2))
    exact, found = GAUSSIAN(x, node), predict(x, node)
    np.testing.assert_allclose(found.x_0, exact.x_0, atol=2e-4)
    np.testing.assert_allclose(found.eps, exact.eps, atol=2e-4)
    given = exact.velocity(process) if kind == "velocity" else getattr(exact, AS_GIVEN[kind])
    np.testing.assert_array_equal(predict.function(x, t), given)
    np.testing.assert_allclose(predict.output.write(found), given, rtol=1e-4, atol=1e-4)


def test_a_velocity_says_all_where_a_score_does_not():
    process = FlowMatching()
    node = process.node(jnp.ones(2))  # alpha = 0
    x = jnp.array([[1.0, 2.0], [0.5, -1.0]])
    found = functions(process)["velocity"](x, node)
    np.testing.assert_allclose(found.x_0, jnp.broadcast_to(GAUSSIAN.mean, (2, 2)), atol=1e-6)
    assert not jnp.isfinite(functions(process)["score"](x, node).x_0).all()


@pytest.mark.one_in(2)
@pytest.mark.parametrize("process", [FlowMatching(), VPSDE()], ids=str)
def test_samples_and_likelihood_by_the_velocity_are_those_by_the_score(process):
    grid = uniform_grid(process, 20, t_start=0.99, t_end=1e-3)
    made, log_p = {}, {}
    for kind, predict in functions(process).items():
        run = sampling.sample(jax.random.key(0), process, predict, DDIM(), grid, (8, 2))
        made[kind] = run.x
        log_p[kind] = log_likelihood(
            jax.random.key(1), process, predict, run.x, probe="exact", t_max=0.99
        ).value
    for kind in ("noise", "denoiser", "velocity"):
        np.testing.assert_allclose(made[kind], made["score"], atol=2e-4)
        np.testing.assert_allclose(log_p[kind], log_p["score"], atol=2e-3)


def test_what_is_no_predictor_is_refused_with_the_names_of_the_wrappers():
    def velocity(x, t):
        return x

    process = VPSDE()
    grid = uniform_grid(process, 5, t_end=1e-3)
    sampler = Sampler(process, DDIM(), grid, (2,))
    x, key = jnp.zeros((1, 2)), jax.random.key(0)
    calls = [
        lambda: sampling.sample(key, process, velocity, DDIM(), grid, (1, 2)),
        lambda: sampler.draw(key, velocity, 1),
        lambda: log_likelihood(key, process, velocity, x),
        lambda: probability_flow.encode(process, velocity, x),
    ]
    for call in calls:
        with pytest.raises(InvalidValue) as error:
            call()
        assert str(error.value) == (
            "predict: got 'velocity', too many positional arguments, expected a predictor (x, node,"
            " cond) -> Prediction, which from_score, from_noise, from_denoiser and from_velocity of"
            " parameterization make of a function (x, t)"
        )
    with pytest.raises(InvalidValue, match="guidance: got 'velocity', too many"):
        sampler.draw(key, GAUSSIAN, 1, guidance=lambda predict: velocity)
