"""Resampling against the original, and against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import nhwc

from models.layers.resampling import (
    Downsample,
    Upsample,
    average_down,
    fir_down,
    fir_up,
    nearest_up,
)

KERNELS = {k: tuple(float(tap) for tap in k) for k in ("1331", "121", "1234", "11")}


@pytest.mark.parametrize("name", KERNELS)
def test_fir_against_the_original(golden, name):
    z, kernel = golden("fir"), KERNELS[name]
    x = nhwc(z["x"])
    np.testing.assert_allclose(fir_up(x, kernel), nhwc(z[f"up/{name}"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fir_down(x, kernel), nhwc(z[f"down/{name}"]), rtol=1e-5, atol=1e-6)


def test_plain_resampling_against_the_original(golden):
    z = golden("fir")
    x = nhwc(z["x"])
    np.testing.assert_allclose(nearest_up(x), nhwc(z["naive_up"]), rtol=1e-6)
    np.testing.assert_allclose(average_down(x), nhwc(z["naive_down"]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["1331", "1234"])
def test_fir_convolution_down_against_the_original(golden, name):
    z = golden("fir")
    conv = {"kernel": z["conv_w"].transpose(2, 3, 1, 0), "bias": np.zeros(5)}
    layer = Downsample(5, with_conv=True, kernel=KERNELS[name])
    y = layer.apply({"params": {"conv": conv}}, nhwc(z["x"]))
    np.testing.assert_allclose(y, nhwc(z[f"conv_downsample/{name}"]), rtol=1e-5, atol=1e-5)


def test_fir_convolution_up_is_a_transposed_convolution_then_the_filter():
    """StyleGAN-2's fused form, which the original has but cannot run: one big convolution."""
    x = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    layer = Upsample(2, with_conv=True, kernel=KERNELS["1234"])
    y, params = layer.init_with_output(jax.random.key(1), x)
    w = params["params"]["conv"]["kernel"]

    # u: zeros between the pixels; then w, then the kernel flipped, all with room on every side.
    u = jnp.zeros((2, 8, 10, 3)).at[:, ::2, ::2].set(x)
    numbers = ("NHWC", "HWIO", "NHWC")
    y_w = jax.lax.conv_general_dilated(u, w, (1, 1), ((2, 1), (2, 1)), dimension_numbers=numbers)
    k = np.outer([4, 3, 2, 1], [4, 3, 2, 1]) / 25
    depthwise = jnp.broadcast_to(jnp.asarray(k, jnp.float32)[:, :, None, None], (4, 4, 1, 2))
    expected = jax.lax.conv_general_dilated(
        y_w, depthwise, (1, 1), ((1, 1), (1, 1)), dimension_numbers=numbers, feature_group_count=2
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_without_a_filter_a_convolution_halves_from_the_top_left():
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 1))
    w = jnp.zeros((3, 3, 1, 1)).at[0, 0].set(1.0)
    params = {"params": {"conv": {"kernel": w, "bias": jnp.zeros(1)}}}
    y = Downsample(1, with_conv=True, kernel=None).apply(params, x)
    np.testing.assert_array_equal(y, x[:, ::2, ::2])
