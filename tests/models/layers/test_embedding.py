import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.embedding import Embedding, FourierFeatures, positional_features


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


def embedding(**options):
    return Embedding(6, jax.nn.silu, **options)


def test_absent_labels_are_the_null_label_and_absent_augmentation_is_zero():
    features = jnp.ones((3, 4))
    model = embedding(num_classes=10, augment_dim=2)
    given = (jnp.full(3, 10), jnp.zeros((3, 2)))
    expected, params = model.init_with_output(jax.random.key(0), features, *given, 3)
    np.testing.assert_array_equal(model.apply(params, features, None, None, 3), expected)
    other = model.apply(params, features, jnp.array([10, 0, 1]), None, 3)
    assert np.array_equal(other[0], expected[0]) and not np.allclose(other[1:], expected[1:])


def test_nothing_to_embed():
    embedded, _ = embedding().init_with_output(jax.random.key(0), None, None, None, 3)
    assert embedded is None


def test_refuses_what_it_has_no_parameters_for():
    features = jnp.ones((3, 4))
    with pytest.raises(ValueError, match="num_classes"):
        embedding().init(jax.random.key(0), features, jnp.zeros(3, int), None, 3)
    with pytest.raises(ValueError, match="augment_dim"):
        embedding().init(jax.random.key(0), features, None, jnp.zeros((3, 2)), 3)
