"""The network of padded sequences."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import quick_jit, random_parameters

from models import MODELS
from models.layers.attention import Tokens
from models.layers.conditioning import Encoding
from models.sequence import SequenceNetwork
from options.errors import InvalidValue

KEY = jax.random.key(0)
TINY = SequenceNetwork(nf=16, num_blocks=2, num_heads=2)


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, 1e-5),
        ({"embedding_type": "positional", "num_heads": 0, "out_channels": 6}, 1e-5),
        ({"kernel_size": 1, "nonlinearity": "relu"}, 1e-5),
        ({"dtype": "bfloat16"}, 0.1),
    ],
)
def test_outputs_at_real_positions_do_not_depend_on_the_padding(options, tolerance):
    network = TINY.clone(**options)
    x = jax.random.normal(KEY, (3, 12, 2))
    c_noise = jnp.array([-1.0, 0.0, 1.5])
    params, apply = random_parameters(network.init, KEY, x, c_noise), jax.jit(network.apply)
    lengths = np.array([12, 7, 1])
    mask = jnp.arange(12)[:, None] < lengths[:, None, None]
    y = apply(params, x, c_noise, mask=mask)
    assert y.dtype == jnp.float32 and y.shape == (3, 12, options.get("out_channels", 2))
    assert not jnp.any(jnp.where(mask, 0, y))
    scale = float(jnp.abs(y).max())
    for row, length in enumerate(lengths):
        alone = apply(params, x[row : row + 1, :length], c_noise[row : row + 1])
        assert jnp.abs(y[row, :length] - alone[0]).max() < tolerance * scale, length
    other = jnp.where(mask, x, 1e3 * jax.random.normal(jax.random.key(2), x.shape))
    np.testing.assert_array_equal(apply(params, other, c_noise, mask=mask), y)
    longer = jnp.pad(x, ((0, 0), (0, 9), (0, 0)), constant_values=5.0)
    wide = apply(
        params, longer, c_noise, mask=jnp.pad(mask, ((0, 0), (0, 9), (0, 0))).astype(jnp.float32)
    )
    assert jnp.abs(wide[:, :12] - y).max() < tolerance * scale and not jnp.any(wide[:, 12:])


class ByEveryWay(nn.Module):
    """A vector in the embedding, a channel and tokens, of which those that are nan are padding."""

    width: int

    @nn.compact
    def __call__(self, value, shape):
        vector, words = value
        return Encoding(
            nn.Dense(self.width)(vector),
            jnp.broadcast_to(vector[:, None, :1], (len(vector), shape[0], 1)),
            Tokens(nn.Dense(self.width)(jnp.nan_to_num(words)), ~jnp.isnan(words[..., 0])),
        )


@dataclasses.dataclass(frozen=True)
class Said:
    name: str = "said"
    dropout: float = 0.1

    def example(self, shape):
        return jnp.zeros((1, 2)), jnp.zeros((1, 4, 3))

    def null(self, value):
        return jax.tree.map(jnp.zeros_like, value)

    def encoder(self, width, dtype):
        return ByEveryWay(width)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("num_heads", [0, 2])
def test_conditions_come_in_by_every_way(num_heads):
    """Each of them moves the output, and padding, of x and of tokens, does not."""
    network = TINY.clone(num_heads=num_heads, conditions=(Said(),))
    x, c_noise = jax.random.normal(KEY, (2, 9, 2)), jnp.zeros(2)
    vector = jax.random.normal(jax.random.key(3), (2, 2))
    words = jax.random.normal(jax.random.key(4), (2, 4, 3)).at[1, 3:].set(jnp.nan)
    given = vector, words
    params = random_parameters(network.clone(parent=None).init, KEY, x, c_noise)
    apply = quick_jit(lambda x, c, given, mask: network.apply(params, x, c, mask=mask, said=given))
    mask = jnp.arange(9)[:, None] < jnp.array([9, 5])[:, None, None]
    y = apply(x, c_noise, given, mask)
    assert y.shape == x.shape and jnp.all(jnp.isfinite(y)) and not jnp.any(y[1, 5:])
    alone = apply(x[1:, :5], c_noise[1:], (vector[1:], words[1:, :3]), None)
    assert jnp.abs(alone[0] - y[1, :5]).max() < 1e-5 * jnp.abs(y).max()
    for other in ((vector.at[0, 0].add(1.0), words), (vector, words.at[0, 2].add(1.0))):
        moved = jnp.abs(apply(x, c_noise, other, mask) - y).max((1, 2))
        assert moved[0] > 1e-3 and moved[1] == 0
    null = quick_jit(network.apply)(params, x, c_noise, mask=mask)
    np.testing.assert_array_equal(null, apply(x, c_noise, Said().null(given), mask))
    with pytest.raises(InvalidValue, match="cond: got 'sayed'.*did you mean 'said'"):
        network.apply(params, x, c_noise, sayed=given)


@pytest.mark.slow
def test_without_a_mask_all_is_real():
    x, c_noise = jax.random.normal(KEY, (2, 6, 3)), jnp.zeros(2)
    params, apply = random_parameters(TINY.init, KEY, x, c_noise), jax.jit(TINY.apply)
    y = apply(params, x, c_noise)
    masked = apply(params, x, c_noise, mask=jnp.ones((2, 6, 1)))
    np.testing.assert_allclose(y, masked, rtol=0, atol=2e-6)
    # Every output depends on every input, on the order of the inputs and on the noise level.
    slope = jax.jit(jax.jacobian(lambda x: apply(params, x, c_noise)[0].sum(-1)))(x)[:, 0]
    assert jnp.all(jnp.abs(slope).sum(-1) > 0)
    assert jnp.abs(apply(params, x[:, ::-1], c_noise)[:, ::-1] - y).max() > 1e-3
    assert jnp.abs(apply(params, x, c_noise + 1) - y).max() > 1e-3


def test_dropout_belongs_to_the_keys_of_the_examples():
    network = TINY.clone(dropout=0.5)
    x, c_noise, keys = jnp.ones((3, 6, 2)), jnp.zeros(3), jax.random.split(KEY, 3)
    params, apply = random_parameters(network.init, KEY, x, c_noise), jax.jit(network.apply)
    y = apply(params, x, c_noise, dropout_keys=keys)
    assert jnp.abs(y - apply(params, x, c_noise)).max() > 1e-3
    alone = apply(params, x[1:2], c_noise[1:2], dropout_keys=keys[1:2])
    assert jnp.abs(alone[0] - y[1]).max() < 1e-5 * jnp.abs(y).max()


@pytest.mark.slow
def test_it_learns_sines_of_different_lengths():
    """It denoises x + sigma eps far better than the best linear estimate from single values."""
    sigma, length = 0.5, 24
    lengths = jnp.array([8, 13, 18, 24] * 4)
    mask = (jnp.arange(length)[:, None] < lengths[:, None, None]).astype(jnp.float32)
    turns = jnp.linspace(0, 2 * jnp.pi, 16)[:, None] + 0.6 * jnp.arange(length)
    x = jnp.sin(turns)[..., None] * mask
    c_noise = jnp.full(16, np.log(sigma))
    params = quick_jit(TINY.init)(KEY, x, c_noise)
    optimizer = optax.adam(3e-3)

    def loss(params, key):
        noisy = (x + sigma * jax.random.normal(key, x.shape)) * mask
        error = TINY.apply(params, noisy, c_noise, mask=mask) - x
        return jnp.sum(error**2 * mask) / jnp.sum(mask)

    @functools.partial(jax.jit, static_argnums=2)
    def train(params, key, steps):
        def step(carry, key):
            params, state = carry
            value, slope = jax.value_and_grad(loss)(params, key)
            change, state = optimizer.update(slope, state)
            return (optax.apply_updates(params, change), state), value

        carry = params, optimizer.init(params)
        (params, _), values = jax.lax.scan(step, carry, jax.random.split(key, steps))
        return params, values

    params, values = train(params, jax.random.key(1), 300)
    linear = 0.5 * sigma**2 / (0.5 + sigma**2)  # 0.17, of signals of variance 1/2
    assert values[0] > 0.4 and jnp.mean(values[-30:]) < 0.3 * linear


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"embedding_type": "fourrier"}, "embedding_type: .*did you mean 'fourier'"),
        ({"nonlinearity": "tanh"}, "nonlinearity"),
        ({"dtype": "float16"}, "dtype"),
        ({"nf": 7}, "nf: got 7"),
        ({"num_blocks": 0}, "num_blocks"),
        ({"kernel_size": 4}, "kernel_size: got 4, expected an odd number"),
        ({"num_heads": 3}, "num_heads: got 3, expected 0 or a divisor of nf = 16"),
        ({"num_heads": -1}, "num_heads"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(InvalidValue, match=match):
        TINY.clone(**options).check(12)


def test_only_sequences_are_taken():
    assert MODELS["sequence"] is SequenceNetwork
    TINY.check(12)
    with pytest.raises(InvalidValue, match=r"sequences \(length, channels\).* \(16, 16\)"):
        TINY.check(16, 16)
