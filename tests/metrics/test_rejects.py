"""What is made for the reject class is what its name says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metrics import rejects


@pytest.fixture(scope="module")
def pair():
    a, b = jax.random.uniform(jax.random.key(0), (2, 28, 28))
    return a, b


def test_a_chimera_is_half_of_each(pair):
    a, b = pair
    kinds = set()
    for seed in range(20):
        made = np.asarray(rejects.chimera(jax.random.key(seed), a, b))
        of_a, of_b = made == np.asarray(a), made == np.asarray(b)
        assert of_a.sum() == of_b.sum() == 28 * 14
        kinds.add((bool(of_a[0, 0]), bool(of_a[0, 27])))
    assert len(kinds) == 4


def test_shuffling_keeps_every_pixel_and_moves_patches(pair):
    a, b = pair
    made = np.asarray(rejects.shuffled(jax.random.key(1), a, b))
    np.testing.assert_array_equal(np.sort(made, axis=None), np.sort(a, axis=None))
    assert np.mean(made != np.asarray(a)) > 0.5


def test_partners_are_of_another_class():
    labels = jnp.array([0, 0, 0, 1, 2, 2])
    for seed in range(5):
        other = rejects.partner(jax.random.key(seed), labels)
        assert np.all(labels[other] != labels)


@pytest.mark.parametrize("name", rejects.REJECTS)
def test_all_are_images(name, pair):
    made = rejects.make(name, jax.random.key(0), jnp.stack(pair), jnp.array([3, 5]))
    assert made.shape == (2, 28, 28)
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert name == "blank" or float(made.std()) > 0.01
