import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.embedding import FourierFeatures, positional_features


@pytest.mark.parametrize("size", [16, 32, 33, 128])
def test_positional_features_against_the_original(golden, size):
    z = golden("embed")
    ours = positional_features(jnp.asarray(z["t"]), size)
    # The original's own rounding of t w is 3e-5 at its t = 999.
    np.testing.assert_allclose(ours, z[f"timestep_embedding/{size}"], rtol=0, atol=4e-5)


def test_positional_features_are_exact_to_float32():
    t = np.linspace(0, 999, 1001, dtype=np.float32)
    angle = t.astype(np.float64)[:, None] * 10_000.0 ** (-np.arange(64) / 63)
    exact = np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
    np.testing.assert_allclose(positional_features(jnp.asarray(t), 128), exact, rtol=0, atol=3e-7)


def test_fourier_frequencies_are_not_trained():
    features = FourierFeatures(8, scale=16.0)
    c = jnp.linspace(-4.0, 4.0, 5)
    params = features.init(jax.random.key(0), c)
    W = params["params"]["W"]
    expected = np.concatenate(
        [np.sin(2 * np.pi * c[:, None] * W), np.cos(2 * np.pi * c[:, None] * W)], -1
    )
    np.testing.assert_allclose(features.apply(params, c), expected, atol=1e-3)
    gradient = jax.grad(lambda p: jnp.sum(features.apply(p, c) ** 3))(params)
    assert not np.any(gradient["params"]["W"])
