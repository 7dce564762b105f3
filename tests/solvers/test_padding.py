"""Padded sequences: with cond["mask"], each gives the numbers that it gives alone and unpadded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solver_cases import make_process, make_solver

from oracles import Gaussian
from parameterization import Prediction
from sampling import KeyedNoise, RunContext, sample
from sde_lib import masked
from solvers import SOLVERS, AdaptiveODE, AdaptiveSDE
from solvers.grids import log_snr_grid
from solvers.predictor_corrector import AnnealedLangevin, Langevin, NoPredictor, PredictorCorrector
from solvers.probability_flow import decode, encode

LENGTHS, LONGEST, CHANNELS = (5, 16, 9), 20, 8
DATA = Gaussian(jnp.linspace(-1.0, 1.0, CHANNELS), jnp.linspace(0.3, 1.0, CHANNELS))
MASK = (jnp.arange(LONGEST) < jnp.array(LENGTHS)[:, None])[..., None]
PROCESS, STEPS = make_process("vp"), 30
GRID = log_snr_grid(PROCESS, STEPS, t_end=1e-3)


def predict(x, node, cond):
    """Exact where the sequence is real, and of no use in the padding."""
    found = DATA(x, node)
    if "mask" not in cond:
        return found
    bad = jnp.where(cond["mask"] > 0, 0.0, jnp.nan)
    return Prediction(found.x_0 + bad, found.eps + bad, node)


def run(solver, **options):
    """All sequences padded, and each alone."""
    shape = (len(LENGTHS), LONGEST, CHANNELS)
    key, cond = jax.random.key(0), {"mask": MASK}
    together = sample(key, PROCESS, predict, solver, GRID, shape, cond=cond, **options)
    alone = [
        sample(
            key, PROCESS, predict, solver, GRID, (1, n, CHANNELS), first_index=i, **options
        )
        for i, n in enumerate(LENGTHS)
    ]  # fmt: skip
    return together, alone


def check(together, alone, atol=2e-4, spent=0.0):
    """spent: by what fraction the evaluations may differ."""
    for i, (n, one) in enumerate(zip(LENGTHS, alone, strict=True)):
        np.testing.assert_allclose(together.x[i, :n], one.x[0], atol=atol)
        np.testing.assert_array_equal(together.x[i, n:], 0.0)
        np.testing.assert_allclose(together.nfe[i], one.nfe[0], rtol=spent)
        np.testing.assert_allclose(together.accepted[i], one.accepted[0], rtol=spent)


# A step of another length by one rounding of float32, 1e-7, sees a Brownian path that differs by
# the root of it, some hundred times over; the attempts themselves agree, see below.
TOLERANCES = {"adaptive_sde": {"atol": 0.1, "spent": 0.15}}


def test_the_noise_of_a_prefix_is_the_prefix_of_the_noise():
    keys = jax.random.split(jax.random.key(0), 3)
    noise, step = KeyedNoise(keys), jnp.int32(4)
    for draw in (noise.initial, lambda shape: noise(step, 2, shape)):
        np.testing.assert_array_equal(draw((3, 20, 2))[:, :7], draw((3, 7, 2)))


@pytest.mark.one_in(5)
@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_gives_what_the_unpadded_run_gives(name):
    check(*run(make_solver(name, STEPS)), **TOLERANCES.get(name, {}))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("solver", [AdaptiveODE(), AdaptiveSDE()], ids=["ode", "sde"])
def test_an_attempt_has_the_error_of_the_unpadded_attempt(solver):
    keys = jax.random.split(jax.random.key(3), len(LENGTHS))

    def attempt(x, keys, cond):
        context = RunContext(predict, None, GRID, KeyedNoise(keys), cond, jnp.zeros(0))
        node, node_next = (PROCESS.node(jnp.full(len(x), t)) for t in (0.5, 0.45))
        memory = solver.refresh(PROCESS, context, x, node)
        return solver.attempt(PROCESS, context, x, node, node_next, memory)

    x = masked(jax.random.normal(jax.random.key(1), (3, LONGEST, CHANNELS)), MASK)
    together = attempt(x, keys, {"mask": MASK})
    for i, n in enumerate(LENGTHS):
        alone = attempt(x[i : i + 1, :n], keys[i : i + 1], {})
        np.testing.assert_allclose(together.error[i], alone.error[0], rtol=1e-3)
        np.testing.assert_allclose(together.x[i, :n], alone.x[0], atol=1e-5)
        np.testing.assert_array_equal(together.x[i, n:], 0.0)


@pytest.mark.parametrize("corrector", [Langevin(num_steps=2), AnnealedLangevin(num_steps=2)])
def test_the_norms_of_correctors_leave_the_padding_out(corrector):
    check(*run(PredictorCorrector(NoPredictor(), corrector), denoise="none"), atol=1e-3)


@pytest.mark.parametrize("denoise", ["tweedie", "mean", "none"])
def test_states_are_0_in_the_padding_throughout(denoise):
    """The constraint is one that would fill it, and so would the start."""
    start = jnp.ones((len(LENGTHS), LONGEST, CHANNELS)), jax.tree.map(lambda f: f[0], GRID)
    seen = []

    def constraint(x, node, noise):
        jax.debug.callback(lambda x, z: seen.append((np.asarray(x), np.asarray(z))), x, noise)
        return x + 0.1

    made = sample(
        jax.random.key(0), PROCESS, predict, make_solver("pc"), GRID, start[0].shape,
        cond={"mask": MASK}, constraint=constraint, start=start, denoise=denoise, frames=5,
    )  # fmt: skip
    jax.effects_barrier()
    padding = np.broadcast_to(np.asarray(MASK == 0), made.x.shape)
    for x in (made.x, *made.path, *(array for pair in seen for array in pair)):
        assert np.all(np.asarray(x)[padding] == 0)
    assert len(seen) >= STEPS and np.isfinite(made.x).all()


def test_latents_of_padded_data_are_those_of_the_data():
    x = masked(DATA.mean + DATA.std * jax.random.normal(jax.random.key(1), (3, 20, 8)), MASK)
    cond = {"mask": MASK.astype(jnp.float32)}
    there = encode(PROCESS, predict, x, cond=cond)
    back = decode(PROCESS, predict, there.x, cond=cond)
    for i, n in enumerate(LENGTHS):
        alone = encode(PROCESS, predict, x[i : i + 1, :n])
        np.testing.assert_allclose(there.x[i, :n], alone.x[0], atol=1e-5)
        assert there.evaluations[i] == alone.evaluations[0]
    np.testing.assert_array_equal(there.x, masked(there.x, MASK))
    np.testing.assert_allclose(back.x, x, atol=1e-3)
