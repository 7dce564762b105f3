"""Orders of convergence, measured on Gaussian data, where flow and distributions are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from oracles import Gaussian
from sampling import sample
from sde_lib import EDM, VESDE, VPSDE, CosineVP, FlowMatching, Node, SubVPSDE
from solvers import DDIM, AdaptiveODE, DPMSolverPP, Euler, Heun, StochasticHeun
from solvers.grids import edm_grid, log_snr_grid, quadratic_grid, uniform_grid

DATA = Gaussian(jnp.array([0.4, -0.2]), jnp.array([0.5, 1.0]))
PROCESSES = [VESDE(0.05, 5.0), VPSDE(), SubVPSDE(), CosineVP(), EDM(t_max=5.0), FlowMatching()]
ids = lambda value: type(value).__name__  # noqa: E731
EARLY = {"EDM": 0.5}  # where the runs end; elsewhere at t = 0.3


def slope_of(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


def flow_error(process, solver, grid):
    """Largest distance from the exact flow at the end of the grid."""
    start, end = (Node(*(field[i] for field in grid)) for i in (0, -1))
    x = process.prior_std * jax.random.normal(jax.random.key(0), (8, 2))
    run = sample(
        jax.random.key(0), process, DATA, solver, grid, x.shape, start=(x, start), denoise="none"
    )
    node = lambda n: Node(*(jnp.full(8, field) for field in n))  # noqa: E731
    return float(jnp.abs(run.x - DATA.flow(x, node(start), node(end))).max())


@pytest.mark.one_in(7)
@pytest.mark.parametrize("process", PROCESSES, ids=ids)
@pytest.mark.parametrize(
    "solver, order",
    [(Euler(), 1), (DDIM(), 1), (DPMSolverPP(1), 1), (Heun(), 2), (DPMSolverPP(2), 2)],
    ids=["euler", "ddim", "dpm1", "heun", "dpm2"],
)
def test_order_on_the_probability_flow(process, solver, order):
    t_end = EARLY.get(type(process).__name__, 0.3)
    steps = np.array([20, 40, 80])
    errors = [
        flow_error(process, solver, uniform_grid(process, int(n), t_end=t_end)) for n in steps
    ]
    assert errors[-1] < 0.1
    assert abs(slope_of(steps, errors) - order) < 0.35, errors


@pytest.mark.parametrize("process", PROCESSES, ids=ids)
def test_churn_does_not_go_beyond_the_prior(process):
    first = Node(*(field[:1] for field in uniform_grid(process, 4, t_end=0.3)))
    _, raised = StochasticHeun(4)._churned(process, jnp.ones((1, 2)), first, jnp.ones((1, 2)))
    assert float(raised.t[0]) == np.float32(process.t_max)
    lower = Node(*(field[2:3] for field in uniform_grid(process, 4, t_end=0.3)))
    _, raised = StochasticHeun(4)._churned(process, jnp.ones((1, 2)), lower, jnp.ones((1, 2)))
    s, before = float(raised.sigma[0] / raised.alpha[0]), float(lower.sigma[0] / lower.alpha[0])
    assert s == pytest.approx(np.sqrt(2) * before, rel=1e-3)


@pytest.mark.parametrize("make", [uniform_grid, quadratic_grid, log_snr_grid, edm_grid])
def test_the_order_holds_on_every_grid(make):
    process, steps = VPSDE(), np.array([20, 40, 80])
    errors = [flow_error(process, Heun(), make(process, int(n), t_end=0.1)) for n in steps]
    assert abs(slope_of(steps, errors) - 2) < 0.4, errors


@pytest.mark.one_in(7)
@pytest.mark.parametrize("process", PROCESSES, ids=ids)
@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5"])
def test_the_adaptive_flow_keeps_its_tolerance(process, method):
    t_end = EARLY.get(type(process).__name__, 0.3)
    solver = AdaptiveODE(method, rtol=1e-4, atol=1e-4)
    assert flow_error(process, solver, uniform_grid(process, 1, t_end=t_end)) < 3e-3


def final_variance(process, solver, grid, data):
    """The variance that a run ends with, exactly: on Gaussian data a step is affine.

    x' and the solver's memory x_0' are affine in (x, x_0 before, z); their coefficients are read
    off the step itself, for all steps of the run at once, and the covariance of (x, x_0) is carried
    along.
    """
    node, node_next = (Node(*(field[part] for field in grid)) for part in (np.s_[:-1], np.s_[1:]))
    unit, zero = jnp.ones((node.t.size, 1)), jnp.zeros((node.t.size, 1))

    @quick_jit
    def all_steps(x, before, z, h):
        state = solver.init(x)
        if state is not None:
            state = state._replace(x_0=before, h=h)
        step = solver.step(process, data, x, node, node_next, state, lambda k: z)
        memory = step.x if state is None else step.state.x_0
        return jnp.concatenate([step.x, memory], 1), (h if state is None else step.state.h)

    infinite = jnp.full(node.t.size, jnp.inf)
    h = jnp.append(infinite[:1], all_steps(zero, zero, zero, infinite)[1][:-1])
    inputs = (unit, zero, zero), (zero, unit, zero), (zero, zero, unit)
    columns = np.stack([all_steps(*each, h)[0] for each in inputs], -1).astype(np.float64)
    covariance = np.diag([float(data.marginal(node, unit)[1][0, 0]), 0.0])
    for a in columns:
        covariance = a[:, :2] @ covariance @ a[:, :2].T + np.outer(a[:, 2], a[:, 2])
    return covariance[0, 0]


@pytest.mark.one_in(7)
@pytest.mark.parametrize("process", [VPSDE(), VESDE(0.05, 5.0), EDM(t_max=5.0)], ids=ids)
@pytest.mark.parametrize(
    "make, order",
    [
        (lambda n: DDIM(1.0), 1),
        (lambda n: DPMSolverPP(1, noise=True), 1),
        (lambda n: DPMSolverPP(2, noise=True), 1),
        (lambda n: StochasticHeun(n, churn=2.0), 1),
    ],
    ids=["ddim", "sde_dpm1", "sde_dpm2", "churn"],
)
def test_weak_order(process, make, order):
    data = Gaussian(jnp.zeros(1), jnp.full(1, 0.5))
    t_end = EARLY.get(type(process).__name__, 0.3)
    end = process.node(jnp.full(1, t_end))
    exact = float(data.marginal(end, jnp.zeros((1, 1)))[1].reshape(()))
    steps = np.array([20, 40, 80, 160])
    errors = [
        abs(final_variance(process, make(int(n)), uniform_grid(process, int(n), t_end=t_end), data)
            - exact)
        for n in steps
    ]  # fmt: skip
    slope = slope_of(steps, errors)
    print(type(process).__name__, make(1), errors, slope)
    assert slope > order - 0.35, errors
