"""Picard iteration gives the sequential run, in fewer rounds."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import with_devices

from oracles import Gaussian, Mixture
from sampling import sample
from sde_lib import VESDE, VPSDE
from solvers import DDIM, Euler, Heun, Picard, PredictorCorrector
from solvers.grids import uniform_grid
from solvers.predictor_corrector import Ancestral, EulerMaruyama, NoCorrector

MIXTURE = Mixture(jnp.array([[-1.0, 0.0], [1.0, 0.5]]), 0.2, jnp.array([0.3, 0.7]))
INNER = {
    "ddim": DDIM(),
    "euler": Euler(),
    "heun": Heun(),
    "ancestral": PredictorCorrector(Ancestral(), NoCorrector()),
    "maruyama": PredictorCorrector(EulerMaruyama(), NoCorrector()),
}


def run(solver, process, steps=80, n=32, data=MIXTURE):
    grid = uniform_grid(process, steps, t_end=1e-3)
    return sample(jax.random.key(0), process, data, solver, grid, (n, 2))


@pytest.mark.one_in(5)
@pytest.mark.parametrize("process", [VPSDE(), VESDE(0.05, 5.0)], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("inner", INNER)
def test_the_sequential_run_in_fewer_rounds(process, inner):
    one_by_one = run(INNER[inner], process)
    made = run(Picard(INNER[inner], window=16, tolerance=1e-4), process)
    np.testing.assert_allclose(made.x, one_by_one.x, atol=5e-3)
    assert np.all(made.depth < one_by_one.depth) and np.all(made.nfe >= one_by_one.nfe)
    assert made.ok.all() and np.all(made.accepted == 80)


def test_the_difference_falls_with_the_tolerance():
    want = run(DDIM(), VPSDE()).x
    gaps = [
        float(jnp.abs(run(Picard(DDIM(), 20, tolerance), VPSDE()).x - want).max())
        for tolerance in (1e-1, 1e-2, 1e-3, 1e-4)
    ]
    assert np.all(np.diff(gaps) < 0) and gaps[-1] < 1e-3, gaps


def test_a_window_of_one_is_the_sequential_run():
    made, want = run(Picard(DDIM(), 1), VPSDE()), run(DDIM(), VPSDE())
    np.testing.assert_allclose(made.x, want.x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(made.depth, want.depth)
    np.testing.assert_array_equal(made.nfe, want.nfe)


def test_a_window_over_everything_is_exact_for_one_point():
    """Data of one point: DDIM's steps are exact, and so is every sum of them."""
    point = Gaussian(jnp.array([0.3, -0.7]), jnp.zeros(2))
    made = run(Picard(DDIM(), window=80, tolerance=1e-5), VPSDE(), data=point)
    np.testing.assert_allclose(made.x, jnp.broadcast_to(point.mean, (32, 2)), atol=1e-4)


def test_conditioning_and_constraints_stay_with_their_samples():
    """cond and a constraint that hold one value a sample."""
    targets, process = jnp.linspace(-1, 1, 6), VPSDE()

    def predict(x, node, cond):
        mean = jnp.stack([cond["target"], cond["target"]], axis=-1)
        found = Gaussian(jnp.zeros(2), jnp.full(2, 0.01))(x - node.alpha[:, None] * mean, node)
        return found._replace(x_0=found.x_0 + mean)

    def constraint(x, node, noise):
        return x.at[:, 1].set(node.alpha * targets)

    made = sample(
        jax.random.key(0), process, predict, Picard(DDIM()),
        uniform_grid(process, 40, t_end=1e-3), (6, 2),
        cond={"target": targets}, constraint=constraint,
    )  # fmt: skip
    np.testing.assert_allclose(made.x[:, 0], targets, atol=0.05)
    np.testing.assert_allclose(made.x[:, 1], targets, atol=1e-5)


SPREAD = """
import jax, numpy as np
from oracles import Gaussian
from sampling import sample
from solvers.grids import uniform_grid
from sde_lib import VPSDE
from solvers import DDIM, Picard

assert jax.device_count() == 4
data = Gaussian(np.float32([0.4, -0.2]), np.float32([0.5, 1.0]))
mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
grid = uniform_grid(VPSDE(), 40, t_end=1e-3)
made = [
    sample(jax.random.key(0), VPSDE(), data, Picard(DDIM(), 16, sharding=s), grid, (4, 2))
    for s in (None, spread)
]
assert made[0].depth.tolist() == made[1].depth.tolist()
np.testing.assert_allclose(made[0].x, made[1].x, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.slow
def test_evaluations_are_spread_over_devices():
    done = subprocess.run(
        [sys.executable, "-c", SPREAD], env=with_devices(4), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: Picard(DDIM(), window=0), "window: got 0, expected at least 1"),
        (lambda: Picard(DDIM(), tolerance=0.0), "tolerance: got 0.0"),
    ],
)
def test_bad_input_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
