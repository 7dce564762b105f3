"""Classifier-free guidance by several conditions, on Gaussians that move with each of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from controllable.classifier_free import classifier_free
from controllable.schedules import Constant, Interval
from options.errors import InvalidValue
from oracles import Gaussian
from parameterization import MASK
from sampling import sample
from sde_lib import VPSDE
from solvers import DPMSolverPP
from solvers.grids import log_snr_grid

PROCESS, STD, N = VPSDE(), 0.5, 6
NODE = PROCESS.node(jnp.linspace(0.1, 0.9, N))
X = jax.random.normal(jax.random.key(0), (N, 2))


@dataclasses.dataclass(frozen=True)
class Shift:
    """Moves the mean of the data by its value; the null does not."""

    name: str
    dropout: float = 0.1

    def example(self, shape):
        return {"by": jnp.zeros((1, *shape))}

    def draw(self, batch, keys):
        return {"by": batch[self.name]}

    def null(self, value):
        return jax.tree.map(jnp.zeros_like, value)

    def encoder(self, width, dtype):
        raise NotImplementedError


@jax.tree_util.register_static
class Shifted:
    """N(sum of the shifts, STD^2), exact for any of them; the variance it gives is the mean's."""

    def __call__(self, x, node, cond):
        assert set(cond) <= {"a", "b", "c", MASK}
        mean = sum((cond[name]["by"] for name in "abc" if name in cond), start=jnp.zeros_like(x))
        alpha, sigma = node.alpha[:, None], node.sigma[:, None]
        found = Gaussian(jnp.zeros(2), jnp.full(2, STD))(x - alpha * mean, node)
        x_0 = found.x_0 + mean
        return found._replace(x_0=x_0, eps=(x - alpha * x_0) / sigma, aux={"variance": mean})


CONDITIONS = (Shift("a"), Shift("b"), Shift("c", dropout=0.0))
COND = {
    name: {"by": jax.random.normal(jax.random.key(k), (N, 2))} for k, name in enumerate("abc", 1)
}


def expected(mean):
    """The eps of N(mean, STD^2)."""
    alpha, sigma = NODE.alpha[:, None], NODE.sigma[:, None]
    return sigma * (X - alpha * mean) / (alpha**2 * STD**2 + sigma**2)


@pytest.mark.parametrize(
    "scales, a, b",
    [
        (2.5, 2.5, 2.5),
        ({"a": 2.5}, 2.5, 1.0),
        ({"a": 2.5, "b": 0.5}, 2.5, 0.5),
        ({"b": 0.5, "a": 2.5}, 2.5, 0.5),
        ({("a", "b"): 3.0}, 3.0, 3.0),
        ({("b",): 0.0, "a": Constant(1.0)}, 1.0, 0.0),
        ({"a": 1.0, "b": 1.0}, 1.0, 1.0),
    ],
)
def test_guidance_moves_a_gaussian_by_each_scale(scales, a, b):
    """In closed form: D is linear in the mean, so each shift is multiplied by its own scale, and
    what no scale names stays."""
    guided = classifier_free(scales, CONDITIONS)(Shifted())
    found = quick_jit(lambda x, node, cond: guided(x, node, cond))(X, NODE, COND)
    mean = a * COND["a"]["by"] + b * COND["b"]["by"] + COND["c"]["by"]
    np.testing.assert_allclose(found.eps, expected(mean), rtol=1e-4, atol=1e-5)
    x = NODE.alpha[:, None] * found.x_0 + NODE.sigma[:, None] * found.eps
    np.testing.assert_allclose(x, X, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "scales, evaluations, a, b",
    [
        (1.0, 1, 1.0, 1.0),
        ({"a": 1.0, "b": Constant(1.0)}, 1, 1.0, 1.0),
        ({"a": 1.0, "b": 3.0}, 2, 1.0, 3.0),
        ({"a": 3.0, "b": 3.0}, 2, 3.0, 3.0),
        ({"a": 3.0, "b": 1.0}, 3, 3.0, 1.0),
        ({"a": lambda node: 1 + 0 * node.sigma, "b": 3.0}, 3, 1.0, 3.0),
    ],
)
def test_predictions_that_cancel_are_not_made(scales, evaluations, a, b):
    sizes = []

    def counting(x, node, cond):
        sizes.append(len(x))
        return Shifted()(x, node, cond)

    found = classifier_free(scales, CONDITIONS)(counting)(X, NODE, COND)
    assert sizes == [evaluations * N]
    mean = a * COND["a"]["by"] + b * COND["b"]["by"] + COND["c"]["by"]
    np.testing.assert_allclose(found.eps, expected(mean), rtol=1e-4, atol=1e-5)


def test_scales_are_of_the_noise_level():
    level = NODE.sigma / NODE.alpha
    zone = Interval(Constant(4.0), 0.0, float(level[2]) + 1e-3, outside=1.0)
    found = classifier_free({"a": zone, "b": 2.0}, CONDITIONS)(Shifted())(X, NODE, COND)
    scale = jnp.where(jnp.arange(N) < 3, 4.0, 1.0)[:, None]
    mean = scale * COND["a"]["by"] + 2 * COND["b"]["by"] + COND["c"]["by"]
    np.testing.assert_allclose(found.eps, expected(mean), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scales", [2.5, {"a": 2.5, "b": 0.5}])
def test_aux_is_that_of_the_prediction_with_all_conditions(scales):
    found = classifier_free(scales, CONDITIONS)(Shifted())(X, NODE, COND)
    every = Shifted()(X, NODE, COND)
    np.testing.assert_allclose(found.variance, every.variance, rtol=1e-6)


def test_guidance_by_two_draws_the_distribution_that_it_says():
    cond = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], (3000, 2)), COND)
    made = sample(
        jax.random.key(0), PROCESS, Shifted(), DPMSolverPP(), log_snr_grid(PROCESS, 60, t_end=1e-3),
        (3000, 2), cond=cond, guidance=classifier_free({"a": 2.0, "b": 0.5}, CONDITIONS),
    )  # fmt: skip
    one = jax.tree.map(lambda leaf: leaf[0], COND)
    mean = 2 * one["a"]["by"] + 0.5 * one["b"]["by"] + one["c"]["by"]
    np.testing.assert_allclose(made.x.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(made.x.std(0), STD, rtol=0.05)


def test_a_mask_and_what_others_are_conditioned_on():
    """A padding mask comes along; an entry that no condition has does not reach the network."""
    cond = COND | {MASK: jnp.ones((N, 1)), "labels": jnp.arange(N)}
    found = classifier_free({"a": 2.0}, CONDITIONS)(Shifted())(X, NODE, cond)
    plain = classifier_free({"a": 2.0}, CONDITIONS)(Shifted())(X, NODE, COND)
    np.testing.assert_allclose(found.eps, plain.eps, rtol=1e-6)


@pytest.mark.parametrize(
    "scales, conditions, match",
    [
        (2.0, (), r"^conditions: got \[\], expected one with a positive dropout"),
        (2.0, (Shift("a", 0.0),), r"^conditions: got \['a'\], expected one with a positive"),
        ({"a": 2.0}, (Shift("a", 0.0),), "^a.dropout: got 0.0, expected a positive rate"),
        ({"style": 2.0}, (Shift("styles"),), "^scales: got 'style', .* did you mean 'styles'"),
        ({"a": 2.0, ("b", "a"): 1.0}, CONDITIONS, "^scales: got .* each name once"),
        ({}, CONDITIONS, "^scales: got {}, expected the name of a condition or more"),
        ({"a": -1.0}, CONDITIONS, "^scale: got -1.0"),
    ],
)
def test_what_cannot_guide_is_refused(scales, conditions, match):
    with pytest.raises(InvalidValue, match=match):
        classifier_free(scales, conditions)


def test_a_value_that_is_not_there_cannot_be_guided_by():
    with pytest.raises(InvalidValue, match="cond: got no 'a', expected a value"):
        classifier_free({"a": 2.0}, CONDITIONS)(Shifted())(X, NODE, {})
