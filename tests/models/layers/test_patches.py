import jax
import numpy as np

from models.layers.patches import from_patches, to_patches


def test_inverse():
    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
    np.testing.assert_array_equal(from_patches(to_patches(x, 2), 2), x)


def test_channels_of_a_square_are_its_pixels():
    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
    square = to_patches(x, 2)[:, 1, 2].reshape(2, 2, 2, 3)
    np.testing.assert_array_equal(square, x[:, 2:4, 4:6])
