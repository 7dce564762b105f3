import jax
import jax.numpy as jnp
import numpy as np

from models.layers.attention import AttentionBlock


def test_follows_its_formula():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 8))
    block = AttentionBlock(init_scale=1.0, skip_rescale=True)
    y, variables = block.init_with_output(jax.random.key(1), x)
    p = jax.tree.map(np.asarray, variables["params"])

    groups = np.asarray(x).reshape(2, 12, 2, 4)  # 2 groups of 4 channels
    h = (groups - groups.mean((1, 3), keepdims=True)) / np.sqrt(
        groups.var((1, 3), keepdims=True) + 1e-6
    )
    h = h.reshape(2, 12, 8)
    q, k, v = (h @ p[name]["kernel"] + p[name]["bias"] for name in ("query", "key", "value"))
    weights = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(8))
    attended = weights / weights.sum(-1, keepdims=True) @ v
    out = attended @ p["out"]["kernel"] + p["out"]["bias"]
    expected = (x + out.reshape(x.shape)) / np.sqrt(2)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_does_not_care_for_the_order_of_pixels():
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 8))
    block = AttentionBlock(init_scale=1.0)
    y, params = block.init_with_output(jax.random.key(1), x)
    np.testing.assert_allclose(block.apply(params, x[:, ::-1]), jnp.flip(y, 1), atol=1e-5)
