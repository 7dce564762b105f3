"""The convolution, and its derivatives, which are written for speed on CPUs."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from models.layers import convolution
from models.layers.convolution import Conv, Conv1D, cpu_convolve, fan_avg_init

SAME = ((1, 1), (1, 1))
NONE = ((0, 0), (0, 0))


def normal(seed: int, *shape: int):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize(
    "stride, padding, dilation",
    [(1, SAME, 1), (2, NONE, 1), (1, ((0, 2), (1, 0)), 1), (1, ((3, 3), (3, 3)), 3)],
)
def test_derivatives_are_those_of_the_plain_convolution(monkeypatch, stride, padding, dilation):
    monkeypatch.setattr(convolution, "PIXELS_PER_CHUNK", 100)  # several chunks, the last smaller
    x, w = normal(0, 5, 7, 9, 3), normal(1, 3, 3, 3, 4)
    dx, dw = normal(2, *x.shape), normal(3, *w.shape)

    def plain(x, w):
        numbers = ("NHWC", "HWIO", "NHWC")
        apart = (dilation, dilation)
        return lax.conv_general_dilated(
            x, w, (stride, stride), padding, rhs_dilation=apart, dimension_numbers=numbers
        )

    def ours(x, w):
        return cpu_convolve(x, w, stride, padding, dilation)

    for function in (lambda f: jax.jvp(f, (x, w), (dx, dw)), lambda f: _vjp(f, x, w)):
        for a, b in zip(function(ours), function(plain), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


def _vjp(f, x, w):
    y, pullback = jax.vjp(f, x, w)
    return y, *pullback(jnp.cos(y))


def test_can_be_differentiated_twice():
    x, w = normal(0, 2, 5, 5, 3), normal(1, 3, 3, 3, 2)

    def of_w(convolve):
        loss = lambda x, w: jnp.sum(convolve(x, w) ** 3)  # noqa: E731
        return jax.grad(lambda w: jnp.sum(jax.grad(loss)(x, w) ** 2))(w)

    plain = lambda x, w: convolution.convolve(x, w, 1, SAME)  # noqa: E731
    ours = lambda x, w: cpu_convolve(x, w, 1, SAME)  # noqa: E731
    np.testing.assert_allclose(of_w(ours), of_w(plain), rtol=1e-3)


def test_derivatives_in_a_loop_are_in_the_fast_order():
    """Operands in the order NHWC, HWIO, which the CPU backend needs inside loops."""
    x, w = normal(0, 2, 5, 5, 3), normal(1, 3, 3, 3, 3)

    def step(_, xw):
        return jax.grad(lambda xw: jnp.sum(cpu_convolve(*xw, 1, SAME) ** 2))(xw)

    jaxpr = str(jax.make_jaxpr(lambda xw: lax.fori_loop(0, 2, step, xw))((x, w)))
    numbers = [line for line in jaxpr.splitlines() if "dimension_numbers" in line]
    canonical = "lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2)"
    assert len(numbers) == 3 and all(canonical in line for line in numbers)


def test_a_layer_of_even_size_keeps_the_size():
    x = normal(0, 1, 6, 6, 2)
    y, _ = Conv(3, size=4).init_with_output(jax.random.key(0), x)
    assert y.shape == (1, 6, 6, 3)


def test_initial_scale():
    w = fan_avg_init()(jax.random.key(0), (3, 3, 64, 128))
    variance = 1 / (9 * (64 + 128) / 2)
    assert abs(np.var(w) / variance - 1) < 0.02
    assert np.abs(w).max() <= np.sqrt(3 * variance)  # uniform
    assert np.abs(fan_avg_init(0.0)(jax.random.key(0), (3, 3, 8, 8))).max() < 1e-5


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_convolution_along_a_sequence_is_flax_s(size):
    x = jax.random.normal(jax.random.key(0), (2, 9, 4))
    ours, theirs = Conv1D(6, size), nn.Conv(6, (size,))
    params = ours.init(jax.random.key(1), x)
    params = jax.tree.map(lambda p: p + 0.1, params)
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), atol=1e-5)
