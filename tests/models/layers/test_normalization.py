import jax
import numpy as np
import pytest

from models.layers.normalization import GroupNorm, num_groups


def test_each_group_is_normalised():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 5, 4, 24))
    scale, bias = np.linspace(0.5, 2, 24), np.linspace(-1, 1, 24)
    y = GroupNorm().apply({"params": {"scale": scale, "bias": bias}}, x)

    groups = np.asarray(x).reshape(2, 20, 6, 4)  # min(24 / 4, 32) groups of 4 channels
    mean = groups.mean((1, 3), keepdims=True)
    std = np.sqrt(groups.var((1, 3), keepdims=True) + 1e-6)
    expected = ((groups - mean) / std).reshape(x.shape) * scale + bias
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
    "channels, per_group, groups",
    [(64, 4, 16), (512, 4, 32), (20, 4, 5), (128, 1, 32), (144, 4, 24), (3, 4, 1)],
)
def test_number_of_groups(channels, per_group, groups):
    """The published numbers, and where 32 does not divide 144 the next that does."""
    assert num_groups(channels, per_group) == groups
