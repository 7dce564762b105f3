import jax
import jax.numpy as jnp
import numpy as np

from models.layers.attention import AttentionBlock, CrossAttention, Tokens


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


X = jax.random.normal(jax.random.key(0), (3, 2, 2, 8))
VALUES = jax.random.normal(jax.random.key(1), (3, 4, 5))


def cross(tokens, **options):
    block = CrossAttention(init_scale=1.0, **options)
    variables = block.init(jax.random.key(2), X, Tokens(VALUES))
    return block.apply(variables, X, tokens)


def test_tokens_are_a_set_and_padding_is_not_seen():
    y = cross(Tokens(VALUES))
    np.testing.assert_allclose(cross(Tokens(VALUES[:, ::-1])), y, atol=1e-5)
    padded = jnp.concatenate([VALUES, jnp.full((3, 2, 5), 9.0)], axis=1)
    mask = jnp.concatenate([jnp.ones((3, 4)), jnp.zeros((3, 2))], axis=1)
    np.testing.assert_allclose(cross(Tokens(padded, mask)), y, atol=1e-5)
    assert float(jnp.abs(cross(Tokens(padded)) - y).max()) > 0.01


def test_an_example_without_tokens_attends_to_nothing():
    mask = jnp.ones((3, 4), bool).at[1].set(False)

    def energy(values):
        return jnp.sum(cross(Tokens(values, mask)) ** 2)

    slope = jax.grad(energy)(VALUES)
    assert bool(jnp.isfinite(slope).all()) and not bool(slope[1].any()) and bool(slope[0].any())
    # The bias of the last layer begins at zero.
    np.testing.assert_allclose(cross(Tokens(VALUES, mask))[1], X[1], atol=1e-6)


def test_attention_to_tokens_follows_that_to_pixels():
    block = AttentionBlock(init_scale=1.0, skip_rescale=True)
    variables = block.init(jax.random.key(3), X, Tokens(VALUES))
    cross = variables["params"].pop("cross")
    plain = block.apply(variables, X)
    both = block.apply({"params": variables["params"] | {"cross": cross}}, X, Tokens(VALUES))
    second = CrossAttention(init_scale=1.0, skip_rescale=True)
    expected = second.apply({"params": cross}, plain, Tokens(VALUES))
    np.testing.assert_allclose(both, expected, atol=1e-5)
