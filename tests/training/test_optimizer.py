"""The optimizer: schedule, and the order of clipping, Adam and weight decay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from training.optimizer import Optimizer


def test_the_warm_up_counts_from_zero():
    optimizer = Optimizer(lr=2e-4, warmup=4)
    rates = [float(optimizer.learning_rate(n)) for n in range(6)]
    np.testing.assert_allclose(rates, [0, 5e-5, 1e-4, 1.5e-4, 2e-4, 2e-4], rtol=1e-6)
    assert float(Optimizer(lr=2e-4, warmup=0).learning_rate(0)) == pytest.approx(2e-4)


def test_cosine_and_rsqrt_decay():
    cosine = Optimizer(lr=1.0, warmup=10, decay="cosine", steps=110)
    assert float(cosine.learning_rate(10)) == pytest.approx(1.0)
    assert float(cosine.learning_rate(60)) == pytest.approx(0.5)
    assert float(cosine.learning_rate(110)) == pytest.approx(0.0, abs=1e-6)
    rsqrt = Optimizer(lr=1.0, warmup=100, decay="rsqrt")
    assert float(rsqrt.learning_rate(50)) == pytest.approx(0.5)
    assert float(rsqrt.learning_rate(400)) == pytest.approx(0.5)


def apply(optimizer, params, grads):
    transformation = optimizer.transformation()
    state = transformation.init(params)
    for g in grads:
        updates, state = transformation.update(g, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_the_gradient_is_clipped_before_adam():
    """The first Adam step is lr sign(g) whatever the scale; its second moment shows the clip."""
    optimizer = Optimizer(lr=1.0, warmup=0, grad_clip=1.0, eps=1e-12)
    g = [{"w": jnp.array([30.0, 40.0])}, {"w": jnp.array([0.03, 0.04])}]
    w = apply(optimizer, {"w": jnp.zeros(2)}, g)["w"]
    clipped = np.array([[0.6, 0.8], [0.03, 0.04]])
    m = 0.09 * clipped[0] + 0.1 * clipped[1]
    v = 0.000999 * clipped[0] ** 2 + 0.001 * clipped[1] ** 2
    expected = -np.ones(2) - (m / 0.19) / np.sqrt(v / 0.001999)
    np.testing.assert_allclose(w, expected, rtol=1e-4)


def test_weight_decay_is_decoupled():
    optimizer = Optimizer(lr=0.1, warmup=0, weight_decay=0.5)
    w = apply(optimizer, {"w": jnp.array([2.0])}, [{"w": jnp.array([0.0])}])["w"]
    np.testing.assert_allclose(w, 2.0 - 0.1 * 0.5 * 2.0, rtol=1e-6)


def test_the_learning_rates_of_the_original(golden):
    optimizer = Optimizer(lr=2e-4, warmup=4)
    rates = [float(optimizer.learning_rate(n)) for n in range(5)]
    np.testing.assert_allclose(rates, golden("train_ve")["lrs"], rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 0.0}, "lr: got 0.0"),
        ({"decay": "linear"}, "decay: got 'linear', expected one of"),
        ({"warmup": -1}, "warmup: got -1"),
        ({"grad_clip": -1.0}, "grad_clip: got -1.0"),
        ({"b2": 1.0}, "b2: got 1.0"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**fields)


def test_a_schedule_that_ends_needs_more_steps_than_its_warmup():
    assert Optimizer(decay="cosine", warmup=10).for_run(11).steps == 11
    with pytest.raises(ValueError, match="warmup: got 10, expected fewer than training.steps = 10"):
        Optimizer(decay="cosine", warmup=10).for_run(10)
    assert Optimizer(warmup=10).for_run(5).steps == 5


def test_no_clipping_and_jit():
    optimizer = Optimizer(lr=1.0, warmup=0, grad_clip=0.0)
    w = jax.jit(lambda g: apply(optimizer, jnp.zeros(2), [g]))(jnp.array([3.0, -4.0]))
    np.testing.assert_allclose(w, [-1, 1], rtol=1e-5)
