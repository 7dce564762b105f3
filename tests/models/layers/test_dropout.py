import jax
import jax.numpy as jnp
import numpy as np

from models.layers.dropout import dropout, fold_keys


def test_share_and_scale():
    keys = jax.random.split(jax.random.key(0), 4)
    y = np.asarray(dropout(jnp.ones((4, 50, 50, 3)), 0.25, keys))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.01


def test_mask_of_an_example_is_its_keys():
    keys = jax.random.split(jax.random.key(0), 4)
    x = jnp.ones((4, 5, 5, 3))
    y = dropout(x, 0.5, keys)
    np.testing.assert_array_equal(
        dropout(x[:2], 0.5, keys[jnp.array([2, 0])]), y[jnp.array([2, 0])]
    )
    assert not np.array_equal(y, dropout(x, 0.5, fold_keys(keys, 1)))


def test_inactive_without_keys_or_at_rate_0():
    x = jnp.ones((2, 3))
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, jax.random.split(jax.random.key(0), 2)) is x
