"""Orders of the stochastic solvers where the score is not linear: a mixture in one dimension.

Weak: E f(x_n) given x_0 is carried back from the end, u_i(x) = E u_{i+1}(step(x, z)), by quadrature
in z and splines in x, so that nothing is drawn. Strong: along Brownian paths that all step counts
share, against many more steps.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from oracles import Mixture
from parameterization import NO_COND
from sampling import RunContext, at
from sde_lib import VPSDE
from solvers import DDIM, AdaptiveSDE, StochasticHeun
from solvers.grids import uniform_grid
from solvers.predictor_corrector import (
    Ancestral,
    EulerMaruyama,
    NoCorrector,
    PredictorCorrector,
    ReverseDiffusion,
)

DATA = Mixture(jnp.array([[-1.0], [0.8]]), 0.4, jnp.array([0.35, 0.65]))
PROCESS, T_END = VPSDE(), 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """A source of noise that knows the increment of the step."""

    increment: jax.Array

    def brownian(self, low, high, span, shape):
        return self.increment


def stepper(solver, grid, batch):
    """step(x, z, i): the state after step i of the grid, by its normal draw z; all (batch, 1)."""

    @jax.jit
    def step(x, z, i):
        node, node_next = at(grid, i, batch), at(grid, i + 1, batch)
        if isinstance(solver, AdaptiveSDE):
            noise = Path(z * jnp.sqrt(node.t - node_next.t)[:, None])
            run = RunContext(DATA, None, grid, noise, NO_COND, jnp.zeros(0))
            return solver.attempt(PROCESS, run, x, node, node_next, x).x
        return solver.step(PROCESS, DATA, x, node, node_next, None, lambda k: z).x

    return step


def alone(predictor):
    return PredictorCorrector(predictor, NoCorrector())


def weak_error(solver, steps):
    """|E f(x_n) - E f(x)| for f = x^2 and cos 2x, from the exact distribution at t_max."""
    grid = uniform_grid(PROCESS, steps, t_end=T_END)
    line = np.linspace(-6, 6, 401)
    z, weights = np.polynomial.hermite_e.hermegauss(16)
    step = stepper(solver, grid, line.size * z.size)
    x = jnp.asarray(np.repeat(line, z.size))[:, None]
    draws = jnp.asarray(np.tile(z, line.size))[:, None]
    functions = np.square, lambda x: np.cos(2 * x)
    values = [f(line) for f in functions]
    for i in reversed(range(steps)):
        there = np.asarray(step(x, draws, i)).reshape(line.size, -1)
        values = [CubicSpline(line, v)(there) @ weights / weights.sum() for v in values]

    def mean(i, value):
        density = np.exp(DATA.log_prob(at(grid, i, line.size), jnp.asarray(line)[:, None]))
        return float(np.sum(value * np.asarray(density)) * (line[1] - line[0]))

    return np.array(
        [abs(mean(0, v) - mean(steps, f(line))) for v, f in zip(values, functions, strict=True)]
    )


@pytest.mark.parametrize(
    ("make", "order"),
    [
        (lambda n: DDIM(1.0), 1),
        (lambda n: alone(EulerMaruyama()), 1),
        (lambda n: alone(ReverseDiffusion()), 1),
        (lambda n: alone(Ancestral("large")), 1),
        (lambda n: StochasticHeun(n, churn=2.0), 2),
        (lambda n: AdaptiveSDE(), 2),
    ],
    ids=["ddim", "euler_maruyama", "reverse_diffusion", "ancestral", "churn", "adaptive"],
)
def test_weak_order(make, order):
    with jax.enable_x64(True):
        coarse, fine = (weak_error(make(n), n) for n in (40, 80))
    np.testing.assert_allclose(np.log2(coarse / fine), order, atol=0.15)


@pytest.mark.parametrize(
    "solver", [alone(EulerMaruyama()), AdaptiveSDE()], ids=["euler_maruyama", "adaptive"]
)
def test_strong_order_one(solver):
    """The root mean square distance from a run of 16 times as many steps on the same paths."""
    paths, finest = 256, 640

    def end(steps, increments):
        grid = uniform_grid(PROCESS, steps, t_end=T_END)
        step = stepper(solver, grid, paths)
        joined = increments.reshape(steps, -1, paths, 1).sum(1) / np.sqrt(finest / steps)
        x = jnp.asarray(start)
        for i in range(steps):
            x = step(x, joined[i], i)
        return np.asarray(x)

    with jax.enable_x64(True):
        start, *rest = np.random.default_rng(0).standard_normal((1 + finest, paths, 1))
        increments = np.stack(rest)
        ends = {steps: end(steps, increments) for steps in (20, 40, finest)}
    errors = [np.sqrt(np.mean((ends[n] - ends[finest]) ** 2)) for n in (20, 40)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.2)
