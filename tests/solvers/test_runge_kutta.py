"""Runge-Kutta pairs on an equation whose solution is known, y' = y cos t."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from solvers import runge_kutta
from solvers.adaptive import scaled_norm
from solvers.runge_kutta import PAIRS, advance, begin, integrate

ORDERS = {"bosh3": 3, "dopri5": 5, "tsit5": 5}


def field(t, y):
    return y * jnp.cos(t)[:, None]


def measured_order(name, field, y, exact, steps):
    """Of equal steps from t = 0 to 6, that y(0) leads to `exact`."""

    take = jax.jit(partial(runge_kutta.step, PAIRS[name], field))

    def error(count):
        times, x = jnp.linspace(0.0, 6.0, count + 1)[:, None], jnp.full((1, 1), y)
        for t, t_next in zip(times[:-1], times[1:], strict=True):
            x, slope, _ = take(x, field(t, x), t, t_next)
            np.testing.assert_allclose(slope, field(t_next, x), rtol=1e-6)  # first same as last
        return abs(float(x[0, 0]) - exact)

    return -np.polyfit(np.log(steps), np.log([error(n) for n in steps]), 1)[0]


def test_the_steps_have_order_five():
    slope = measured_order("dopri5", field, 1.0, np.exp(np.sin(6.0)), [6, 8, 12, 16])
    assert abs(slope - 5) < 0.7


@pytest.mark.parametrize("name", PAIRS)
def test_equal_steps_have_the_order_of_the_pair(name):
    """On the logistic equation, in float64."""
    with jax.enable_x64(True):
        logistic = lambda t, y: y * (1 - y)  # noqa: E731
        slope = measured_order(name, logistic, 0.5, 1 / (1 + np.exp(-6.0)), [32, 48, 64, 96])
    assert abs(slope - ORDERS[name]) < 0.35 and PAIRS[name].order == ORDERS[name]


def test_cut_anywhere_it_takes_the_same_steps():
    ends, norm = (jnp.float32(0.0), jnp.float32(6.0)), lambda error, y, y_next: jnp.abs(error[:, 0])
    y = jnp.ones((3, 1)) * jnp.array([[1.0], [5.0], [30.0]])
    scaled = lambda error, y, y_next: norm(error, y, y_next) / 1e-4  # noqa: E731
    further = jax.jit(lambda now, stop: advance(field, now, ends, scaled, stop))
    first = jax.jit(lambda y: begin(field, y, ends, scaled))(y)
    whole, cut = further(first, 1000), first
    for stop in (0, 1, 4, 5, 1000):
        cut = further(cut, stop)
        assert int(cut.attempts.max()) <= stop
    assert jax.tree.all(jax.tree.map(np.array_equal, whole, cut))
    assert further._cache_size() == 1
    assert not whole.going(ends[1], 1000).any() and first.going(ends[1], 1000).all()


@pytest.mark.parametrize("ends", [(0.0, 6.0), (6.0, 0.0)])
@pytest.mark.parametrize("name", PAIRS)
def test_the_error_is_that_of_the_tolerance(name, ends):
    """Within a factor of 20 for local errors that the equation makes grow; with few steps."""
    tolerance, (start, end) = 1e-3, (jnp.float32(t) for t in ends)
    solved = integrate(
        field,
        jnp.full((1, 1), jnp.exp(jnp.sin(start))),
        (start, end),
        lambda error, y, y_next: scaled_norm(error, tolerance * jnp.ones_like(y)),
        jnp.int32(1000),
        name,
    )
    error = abs(float(solved.y[0, 0]) - np.exp(np.sin(ends[1])))
    assert error < 20 * tolerance and 20 < int(solved.evaluations[0]) < 100
    assert float(solved.t[0]) == ends[1] and not solved.lost.any()
