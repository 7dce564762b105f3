"""The network of handwriting: the published count, and what it may depend on."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

from models.handwriting import ALIGNMENT, HandwritingNetwork
from models.layers.places import NEAR
from options.errors import InvalidValue
from tasks.conditions import ClassLabel, Style, Text

KEY = jax.random.key(0)
ALPHABET = "".join(map(chr, range(32, 104)))  # 72 characters, 73 tokens
TINY = HandwritingNetwork(
    widths=(8, 16, 24), heads=(0, 2, 3), middle=1, text_width=16, text_heads=2, noise_width=32,
    noise_features=8, conditions=(Text("abcdef"), Style(2, 8, 8)),
)  # fmt: skip


def count(network, **cond):
    def init():
        return network.init(KEY, jnp.zeros((1, 64, 2)), jnp.zeros(1), **cond)

    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(jax.eval_shape(init)["params"]))


def test_parameters_are_as_many_as_published():
    """10,028,451 with 73 tokens and MobileNetV2's features, of 14 places of 1,280."""
    conditions = (Text(ALPHABET), Style(14, 1280))
    assert count(HandwritingNetwork(conditions=conditions)) == 10_028_451


@pytest.fixture(scope="module")
def tiny():
    x, c_noise = jax.random.normal(KEY, (3, 16, 2)), jnp.array([0.2, 0.5, 0.9])
    text = jnp.array([[1, 2, 3, 0], [4, 5, 0, 0], [6, 1, 2, 3]])
    cond = {"text": text, "style": jax.random.normal(jax.random.key(3), (3, 2, 8))}
    params = random_parameters(TINY.init, KEY, x, c_noise, **cond)
    apply = quick_jit(lambda x, c, mask, cond: TINY.apply(params, x, c, mask=mask, **cond))
    lengths = np.array([16, 8, 5])
    mask = jnp.arange(16)[:, None] < lengths[:, None, None]
    return x, c_noise, cond, mask, params, apply


def close(a, b):
    np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-4)


def test_outputs_at_real_points_do_not_depend_on_the_padding(tiny):
    x, c_noise, cond, mask, _, apply = tiny
    found = apply(x, c_noise, mask, cond)
    for part in (found.output, found.aux["pen"]):
        assert not jnp.any(jnp.where(mask, 0, part))
    other = apply(jnp.where(mask, x, 1e3), c_noise, mask, cond)
    longer = [jnp.pad(v, ((0, 0), (0, 8), (0, 0))) for v in (x, mask)]
    wide = apply(longer[0], c_noise, longer[1], cond)
    for get in (lambda f: f.output, lambda f: f.aux["pen"]):
        np.testing.assert_array_equal(get(found), get(other))
        close(get(wide)[:, :16], get(found))
    alone = apply(x[1:2, :8], c_noise[1:2], mask[1:2, :8], jax.tree.map(lambda v: v[1:2], cond))
    close(alone.output[0], found.output[1, :8])


def test_outputs_do_not_depend_on_the_padding_of_the_text(tiny):
    x, c_noise, cond, mask, _, apply = tiny
    longer = cond | {"text": jnp.pad(cond["text"], ((0, 0), (0, 5)))}
    close(apply(x, c_noise, mask, longer).output, apply(x, c_noise, mask, cond).output)


@pytest.mark.parametrize("name", ["text", "style"])
def test_it_depends_on_text_style_and_noise_level(tiny, name):
    x, c_noise, cond, mask, _, apply = tiny
    found = apply(x, c_noise, mask, cond)
    other = apply(x, c_noise, mask, cond | {name: jnp.flip(cond[name], axis=0)})
    assert jnp.abs(other.output - found.output).max() > 1e-3
    assert jnp.abs(other.aux["pen"] - found.aux["pen"]).max() > 1e-3
    assert jnp.abs(apply(x, c_noise / 2, mask, cond).output - found.output).max() > 1e-3


def intermediates(network, params, x, c_noise, mask, cond):
    def apply(params):
        return network.apply(params, x, c_noise, mask=mask, **cond, mutable=["intermediates"])[1]

    return quick_jit(apply)(params)


def test_the_alignment_is_a_distribution_over_real_characters(tiny):
    x, c_noise, cond, mask, params, _ = tiny
    kept = intermediates(TINY, params, x, c_noise, mask, cond)
    weights = kept["intermediates"]["attend_1"][ALIGNMENT][0]
    assert weights.shape == (3, 8, 4)
    close(weights.sum(-1), 1.0)
    np.testing.assert_array_equal(weights[1, :, 2:], 0.0)


def test_characters_are_placed_where_they_are_expected():
    """Without a query's preference, attention is the Gaussian about the expected places."""
    network = TINY.clone(expected_places=True, points=(0.0, 1.0, 3.0, 2.0, 1.0, 1.0, 1.0))
    x, c_noise = jnp.zeros((1, 16, 2)), jnp.full(1, 0.5)
    text, mask = jnp.array([[1, 2, 0]]), jnp.arange(16)[:, None] < 8
    params = random_parameters(network.init, KEY, x, c_noise, text=text)["params"]
    for name in ("query", "key"):
        params["attend_1"]["cross"][name] = jax.tree.map(
            jnp.zeros_like, params["attend_1"]["cross"][name]
        )
    params["attend_1"]["nearness"] = jnp.full(2, -2 * math.log(NEAR))
    kept = intermediates(network, {"params": params}, x, c_noise, mask[None], {"text": text})
    weights = kept["intermediates"]["attend_1"][ALIGNMENT][0][0]
    places = 8 * np.array([0.5, 2.5]) / 4  # of 8 points the first character takes a quarter
    points = 2 * (np.arange(8) + 0.5)
    distance = (points[:, None] - places) / 4  # in characters of 8 / 2 points
    want = np.exp(-((distance / NEAR) ** 2) / 2)
    close(weights[:, :2], want / want.sum(1, keepdims=True))


@pytest.mark.slow
def test_labels_are_conditions_too():
    network = TINY.clone(conditions=(Text("abc"), ClassLabel(3)))
    x, c_noise = jnp.ones((2, 16, 2)), jnp.full(2, 0.5)
    params = random_parameters(network.init, KEY, x, c_noise)
    labels = jnp.array([0, 1])
    found = quick_jit(lambda p: network.apply(p, x, c_noise, labels=labels))(params)
    assert jnp.abs(found.output[0] - found.output[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (18,), "length: got 18, expected a multiple of 4"),
        ({}, (8, 8), "sequences"),
        ({"heads": (0, 3, 3)}, (16,), "heads: got 3, expected 0 or a divisor of the width 16"),
        ({"heads": (0, 2)}, (16,), "heads: .* as many as widths, 3"),
        ({"conditions": ()}, (16,), "conditions: .*'text' among them"),
        ({"text_heads": 5}, (16,), "heads: got 5"),
        ({"dropout": 1.5}, (16,), "dropout"),
    ],
)
def test_what_cannot_work_is_refused(options, shape, message):
    with pytest.raises(InvalidValue, match=message):
        TINY.clone(**options).check(*shape)
