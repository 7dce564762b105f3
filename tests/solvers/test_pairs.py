"""Processes, solvers, outputs, grids and controls, every two of them together in some run.

Each run samples Gaussian data whose network is exact, so its law is known. New entries of the
tables are found by themselves. The fast suite covers all pairs of choices in as few runs as greedy
search finds; the slow one takes the full products of what meets in the loop.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solver_cases import DATA, STEPS, check_spread, make_process, make_solver

from oracles import Gaussian
from parameterization import OUTPUTS, Parameterization
from sampling import sample
from sde_lib import PROCESSES
from solvers import SOLVERS
from solvers.grids import GRIDS

BATCH, DIM = 150, 32
KNOWN = jnp.arange(DIM) < DIM // 2  # the coordinates that a constraint holds
HALF = Gaussian(jnp.full(DIM, 0.25), jnp.full(DIM, 0.5))


class Perfect:
    """The data's exact network of some output, read by its parameterisation."""

    def __init__(self, output, process):
        self.parameterization = Parameterization(output).on(process)

    def __call__(self, x, node, cond):
        says = DATA(x, node).as_output(self.parameterization.output)
        return self.parameterization.predict(lambda *_: says, x, node, cond)


def hold_half(x, node, noise):
    level = node.alpha[:, None] * 0.25 + node.sigma[:, None] * noise
    return jnp.where(KNOWN, level, x)


def halfway(process, grid):
    """Data noised to the middle of the grid, and the grid from there on."""
    middle = grid.t.size // 2
    node = jax.tree.map(lambda field: jnp.broadcast_to(field[middle], (BATCH,)), grid)
    x_0 = DATA.sample(jax.random.key(7), BATCH)
    eps = jax.random.normal(jax.random.key(8), x_0.shape)
    x = node.alpha[:, None] * x_0 + node.sigma[:, None] * eps
    return {"start": (x, jax.tree.map(lambda f: f[0], node))}, jax.tree.map(
        lambda field: field[middle:], grid
    )


# What each control makes of a run, and the distribution of the coordinates that it leaves.
CONTROLS = {
    "none": lambda process, grid: ({}, grid),
    "guidance": lambda process, grid: ({"guidance": lambda predict: HALF}, grid),
    "constraint": lambda process, grid: ({"constraint": hold_half}, grid),
    "start": halfway,
}
CHOICES = {
    "process": list(PROCESSES),
    "solver": list(SOLVERS),
    "output": list(OUTPUTS),
    "grid": [name for name in GRIDS if name != "published"],
    "control": list(CONTROLS),
}


def covering():
    """Runs in which every pair of choices but (process, solver), which has its own test, meets."""
    names = list(CHOICES)
    pairs = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(names, 2)
        if (a, b) != ("process", "solver")
        for x in CHOICES[a]
        for y in CHOICES[b]
    }
    runs, random = [], np.random.default_rng(0)
    while pairs:
        best = max(
            ({n: CHOICES[n][random.integers(len(CHOICES[n]))] for n in names} for _ in range(300)),
            key=lambda run: len(pairs & set(itertools.combinations(run.items(), 2))),
        )
        gained = pairs & set(itertools.combinations(best.items(), 2))
        if not gained:  # random search has dried up: build a run around a pair that is left
            best |= dict(min(pairs))
            gained = pairs & set(itertools.combinations(best.items(), 2))
        pairs -= gained
        runs.append(tuple(best.values()))
    return runs


def check(process, solver, output, grid, control):
    process, t_max = make_process(process), make_process(process).t_max
    # Away from alpha = 0, where the SDE and most outputs are singular, and on an even scale of t.
    singular = not np.isfinite(process.diffusion_squared(jnp.float32(t_max)))
    grid = GRIDS[grid]()(
        process,
        4 * STEPS if t_max > 2 and grid not in ("edm", "log_snr") else STEPS,
        t_start=0.999 * t_max if singular else t_max,
        t_end=max(process.t_min, 1e-3),
    )
    options, grid = CONTROLS[control](process, grid)
    solver = make_solver(solver, grid.t.size - 1)
    made = sample(
        jax.random.key(0), process, Perfect(output, process), solver, grid, (BATCH, DIM), **options
    )
    assert made.ok.all()
    law = HALF if control == "guidance" else DATA
    x = np.asarray(made.x)
    if control == "constraint":
        np.testing.assert_allclose(x[:, : DIM // 2], 0.25, atol=1e-5)
        x, law = x[:, DIM // 2 :], Gaussian(law.mean[DIM // 2 :], law.std[DIM // 2 :])
    # Means of all coordinates in units of their standard deviation, and their spread.
    away = (x - np.asarray(law.mean)) / np.asarray(law.std)
    assert abs(away.reshape(-1, 2).mean(0)).max() < 0.2
    check_spread(solver, away.reshape(-1, 2).std(0), 0.25)


@pytest.mark.one_in(16)
@pytest.mark.parametrize("choices", covering(), ids="-".join)
def test_every_two_choices_work_together(choices):
    check(*choices)


@pytest.mark.slow
@pytest.mark.parametrize("control", [name for name in CONTROLS if name != "none"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("process", PROCESSES)
def test_every_control_with_every_solver_on_every_process(process, solver, control):
    check(process, solver, "v", "log_snr", control)


@pytest.mark.slow
@pytest.mark.parametrize("grid", CHOICES["grid"])
@pytest.mark.parametrize("output", CHOICES["output"])
@pytest.mark.parametrize("process", PROCESSES)
def test_every_output_on_every_grid_of_every_process(process, output, grid):
    check(process, "heun", output, grid, "none")
