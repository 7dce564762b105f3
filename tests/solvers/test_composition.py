"""Every solver with every process, on data whose distribution is exact; new ones by the tables."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solver_cases import DATA, PROCESSES, STEPS, check_spread, make_process, make_solver

from sampling import sample
from solvers import SOLVERS, Picard, StochasticHeun
from solvers.grids import edm_grid, uniform_grid
from solvers.predictor_corrector import Ancestral, EulerMaruyama, NoCorrector, PredictorCorrector


def run(process, solver, batch=150, start=None, steps=STEPS):
    options = {} if start is None else {"t_start": start}
    if process.t_max > 2:
        grid = edm_grid(process, steps, **options)
    else:
        grid = uniform_grid(process, steps, t_end=1e-3, **options)
    return sample(jax.random.key(0), process, DATA, solver, grid, (batch, 32))


@pytest.mark.one_in(14)
@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_samples_the_data_on_every_process(process, solver):
    """Mean and standard deviation within what 60 steps of a first-order solver leave."""
    process, solver = make_process(process), make_solver(solver)
    try:
        made = run(process, solver)
    except ValueError as error:  # the SDE of a process may be infinite where the flow is not
        assert "earlier t_start" in str(error)
        made = run(process, solver, start=0.999 * process.t_max)
    x = np.asarray(made.x).reshape(-1, 2)
    assert made.ok.all()
    np.testing.assert_allclose(x.mean(0), DATA.mean[:2], atol=0.09)
    check_spread(solver, x.std(0) / np.asarray(DATA.std[:2]), 0.2)


@pytest.mark.one_in(5)
@pytest.mark.parametrize("solver", SOLVERS)
def test_evaluations_are_counted_as_they_happen(solver):
    process, solver, calls = make_process("vp"), make_solver(solver), []

    @dataclasses.dataclass(frozen=True)
    class Counting:
        def __call__(self, x, node, cond):
            jax.debug.callback(lambda: calls.append(len(x)))
            return DATA(x, node)

    grid = uniform_grid(process, STEPS, t_end=1e-3)
    made = sample(jax.random.key(0), process, Counting(), solver, grid, (1, 32))
    jax.effects_barrier()
    assert len(calls) == int(made.depth[0])
    evaluated = sum(calls)
    if isinstance(solver, Picard):  # whole windows are evaluated, those past the end not counted
        assert int(made.depth[0]) < int(made.nfe[0]) <= evaluated
    else:
        assert evaluated == int(made.nfe[0])
        assert int(made.accepted[0]) >= 1


@pytest.mark.one_in(5)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_sample_does_not_depend_on_its_neighbours(solver):
    process, solver = make_process("vp"), make_solver(solver)
    grid = uniform_grid(process, STEPS, t_end=1e-3)
    whole = sample(jax.random.key(3), process, DATA, solver, grid, (5, 32))
    part = sample(jax.random.key(3), process, DATA, solver, grid, (2, 32), first_index=3)
    np.testing.assert_allclose(part.x, whole.x[3:], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(part.nfe, whole.nfe[3:])


@pytest.mark.one_in(5)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_constraint_acts_with_every_solver(solver):
    """Half of each sample is held at its noised value: it ends there, and the rest stays free."""
    process, solver = make_process("vp"), make_solver(solver)
    known, mask = jnp.full(32, 0.25), jnp.arange(32) < 16

    def constraint(x, node, noise):
        level = node.alpha[:, None] * known + node.sigma[:, None] * noise
        return jnp.where(mask, level, x)

    grid = uniform_grid(process, STEPS, t_end=1e-3)
    made = sample(jax.random.key(0), process, DATA, solver, grid, (100, 32), constraint=constraint)
    np.testing.assert_allclose(made.x[:, :16], 0.25, atol=1e-6)
    free = np.asarray(made.x[:, 16:]).reshape(-1, 2)
    np.testing.assert_allclose(free.mean(0), DATA.mean[:2], atol=0.15)
    assert made.ok.all()


def test_what_a_solver_cannot_take_is_one_error():
    flow = make_process("flow")
    maruyama = PredictorCorrector(EulerMaruyama(), NoCorrector())
    for solver in (maruyama, make_solver("adaptive_sde")):
        with pytest.raises(ValueError, match="FlowMatching is infinite at t = 1.0"):
            run(flow, solver)
    with pytest.raises(ValueError, match="num_steps: got 7, but the grid has 60"):
        run(flow, StochasticHeun(7))
    with pytest.raises(ValueError, match="DPMSolverPP, which remembers"):
        run(flow, Picard(make_solver("dpm")))
    with pytest.raises(ValueError, match="variance: got 'learned', but the model predicts none"):
        run(flow, PredictorCorrector(Ancestral("learned"), NoCorrector()))
