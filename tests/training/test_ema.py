"""The moving average against its closed form and its warm-up rule."""

import jax.numpy as jnp
import numpy as np
import pytest

from training.ema import EMA


def test_a_constant_is_approached_geometrically():
    ema = EMA(0.9)
    average = {"w": jnp.ones(3)}
    for n in range(1, 6):
        average = ema.update(average, {"w": jnp.full(3, 2.0)}, n)
    np.testing.assert_allclose(average["w"], 2 - 0.9**5, rtol=1e-6)


@pytest.mark.parametrize(
    ("n", "rate"), [(1, 2 / 11), (2, 3 / 12), (100, 101 / 110), (10**6, 0.999)]
)
def test_the_warm_up_rate(n, rate):
    assert float(EMA(0.999, warmup=True).rate(n)) == pytest.approx(rate, rel=1e-6)
    assert float(EMA(0.999).rate(n)) == pytest.approx(0.999)


def test_half_precision_leaves_keep_their_type():
    average = EMA(0.5).update(jnp.zeros(2, jnp.bfloat16), jnp.ones(2, jnp.bfloat16), 1)
    assert average.dtype == jnp.bfloat16 and float(average[0]) == 0.5


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="^decay: got"):
        EMA(decay)


@pytest.mark.parametrize("ema", [EMA(0.9), EMA(0.99, warmup=True), EMA(0.0)])
def test_the_share_of_the_first_parameters_is_what_is_left_of_them(ema):
    """Of an average that begins at 1, when all that follow are 0."""
    average = jnp.ones(())
    for n in range(1, 31):
        average = ema.update(average, jnp.zeros(()), n)
    assert ema.initial_share(30) == pytest.approx(float(average), rel=1e-4, abs=1e-12)
