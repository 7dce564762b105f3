"""What must hold of the networks whatever their weights; outputs are in test_golden_networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

from models import DDPM, NCSNpp
from models.layers.attention import ALIGNMENT, CrossAttention, Tokens
from models.layers.places import NEAR, expected_places
from models.layers.resampling import resize_up
from models.layers.residual import ResidualBlock
from tasks.conditions import Augmentation, ClassLabel, LowResolution, Style, Text

TINY = {
    "nf": 8,
    "ch_mult": (1, 2),
    "num_res_blocks": 1,
    "attn_resolutions": (4,),
    "dropout": 0.5,
    "conditions": (ClassLabel(10),),
}
x = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
c_noise = jnp.linspace(-1.0, 1.0, 4)
labels = jnp.array([0, 3, 3, 10])
keys = jax.random.split(jax.random.key(1), 4)


def network(**options) -> NCSNpp:
    return NCSNpp(**{"init_scale": 1.0, **TINY, **options})


def initialise(model, x=x):
    return random_parameters(model.init, jax.random.key(2), x, c_noise)


@pytest.fixture(scope="module")
def params():
    return initialise(network())


def test_labels_matter_and_absent_ones_are_the_null(params):
    apply = quick_jit(network().apply)
    y = apply(params, x, c_noise, labels=labels)
    assert np.abs(y - apply(params, x, c_noise, labels=(labels + 1) % 11)).min(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(
        apply(params, x, c_noise), apply(params, x, c_noise, labels=jnp.full(4, 10))
    )


def test_dropout_of_an_example_does_not_depend_on_its_batch(params):
    apply = quick_jit(network().apply)
    y = apply(params, x, c_noise, labels=labels, dropout_keys=keys)
    turned = jnp.array([2, 3, 0, 1])
    z = apply(params, x[turned], c_noise[turned], labels=labels[turned], dropout_keys=keys[turned])
    np.testing.assert_allclose(z, y[turned], rtol=1e-4, atol=1e-4)
    assert not np.allclose(y, apply(params, x, c_noise, labels=labels), atol=0.1)


@pytest.mark.parametrize("cls", [NCSNpp, DDPM])
@pytest.mark.parametrize("channels", [1, 5])
def test_images_need_not_be_square_and_attention_goes_by_their_height(cls, channels):
    model = cls(**TINY)
    model.check(8, 16)
    wide = jnp.zeros((4, 8, 16, channels))
    y, params = jax.eval_shape(model.init_with_output, jax.random.key(0), wide, c_noise)
    assert y.shape == wide.shape
    assert "attention" in params["params"]["down_1"]["unit_0"]
    with pytest.raises(ValueError, match="attn_resolutions: got 4, .*heights .* are .16, 8."):
        model.check(16, 8)


@pytest.mark.parametrize("model", [
    NCSNpp(**TINY | {"conditions": (ClassLabel(3), Augmentation(9), LowResolution(4))}),
    NCSNpp(**TINY | {"conditions": (LowResolution(4),), "patch_size": 2, "ch_mult": (1, 1)},
           out_channels=6),
    DDPM(**TINY | {"conditions": (Augmentation(9), LowResolution(4))}),
], ids=["ncsnpp", "patches", "ddpm"])  # fmt: skip
def test_channels_of_a_condition_come_in_and_do_not_go_out(model):
    low = {"image": jnp.zeros((4, 4, 4, 3)), "level": jnp.zeros(4)}
    init = jax.eval_shape(model.init, jax.random.key(0), x, c_noise, low=low)
    made = jax.eval_shape(model.apply, init, x, c_noise, low=low)
    assert made.shape == (4, 8, 8, model.out_channels or 3)
    patch = getattr(model, "patch_size", 1)
    assert init["params"]["conv_in"]["kernel"].shape[2] == 6 * patch**2


@pytest.mark.slow
@pytest.mark.parametrize("option", ["remat", "scan_blocks"])
def test_ways_to_compile_change_neither_results_nor_parameters(option):
    def gradient(model, params):
        cond = {"labels": labels, "dropout_keys": keys}
        loss = lambda p: jnp.mean(model.apply(p, x, c_noise, **cond) ** 2)  # noqa: E731
        return quick_jit(jax.value_and_grad(loss))(params)

    small = {"ch_mult": (1,), "attn_resolutions": (8,), "num_res_blocks": 2}
    plain, other = network(**small), network(**small, **{option: True})
    params = initialise(plain)
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(other.init, jax.random.key(2), x, c_noise)
    )
    a, b = gradient(plain, params), gradient(other, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), a, b)


def test_bfloat16_is_near_and_keeps_float32_outside(params):
    model = network(dtype="bfloat16")
    shapes = jax.eval_shape(model.init, jax.random.key(2), x, c_noise)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    y = quick_jit(network().apply)(params, x, c_noise, labels=labels)
    z = quick_jit(model.apply)(params, x, c_noise, labels=labels)
    assert z.dtype == jnp.float32
    assert 1e-4 < np.std(z - y) / np.std(y) < 0.03


def test_patches_are_what_the_network_sees_as_pixels():
    patched, plain = network(patch_size=2, attn_resolutions=(2,)), network(attn_resolutions=(2,))
    squares = x.reshape(4, 4, 2, 4, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(4, 4, 4, 12)
    params = initialise(plain, squares)
    y = quick_jit(plain.apply)(params, squares, c_noise).reshape(4, 4, 4, 2, 2, 3)
    expected = y.transpose(0, 1, 3, 2, 4, 5).reshape(4, 8, 8, 3)
    result = quick_jit(patched.apply)(params, x, c_noise)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


OPTIONS = [
    {"progressive": progressive, "progressive_input": into, "resblock_type": block, "fir": fir}
    for progressive in ("none", "output_skip", "residual")
    for into in ("none", "input_skip", "residual")
    for block in ("biggan", "ddpm")
    for fir in (True, False)
] + [
    {"progressive_input": "input_skip", "progressive_combine": "cat"},
    {"resblock_type": "ddpm", "resamp_with_conv": False},
    {"conditional": False, "conditions": ()},
    {"embedding_type": "positional", "nonlinearity": "elu"},
    {
        "conditions": (Augmentation(3),),
        "nonlinearity": "lrelu",
        "conv_size": 1,
        "skip_rescale": False,
    },
    {"nf": 12, "nonlinearity": "relu", "attn_resolutions": ()},
]


@pytest.mark.one_in(5)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(str(v) for v in o.values()))
def test_every_option_gives_a_picture(options):
    model = network(**options)
    model.check(8, 8)
    y, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), x, c_noise)
    assert (y.shape, y.dtype) == (x.shape, jnp.float32)


@pytest.mark.parametrize("attention_in_up, expected", [("level", 1), ("block", 2)])
def test_attention_of_ddpm_on_the_way_up(attention_in_up, expected):
    model = DDPM(**TINY, attention_in_up=attention_in_up)
    params = jax.eval_shape(model.init, jax.random.key(0), x, c_noise)["params"]
    assert (
        str(jax.tree.structure(params["up_1"])).count("query") + ("up_1_attention" in params)
        == expected
    )


CIFAR = {"nf": 128, "ch_mult": (1, 2, 2, 2), "num_res_blocks": 4}
DDPMPP = {"fir": False, "progressive_input": "none", "embedding_type": "positional"}
HIGH = {"progressive": "output_skip", "progressive_input": "input_skip"}
PUBLISHED = [
    (62_758_915, 32, NCSNpp, CIFAR),
    (107_587_075, 32, NCSNpp, {**CIFAR, "num_res_blocks": 8}),
    (62_693_251, 32, NCSNpp, {**CIFAR, "embedding_type": "positional"}),
    (107_521_411, 32, NCSNpp, {**CIFAR, "embedding_type": "positional", "num_res_blocks": 8}),
    (61_804_419, 32, NCSNpp, {**CIFAR, **DDPMPP}),
    (106_632_579, 32, NCSNpp, {**CIFAR, **DDPMPP, "num_res_blocks": 8}),
    (35_218_947, 32, DDPM, {}),
    (111_569_923, 256, DDPM, {"ch_mult": (1, 1, 2, 2, 4, 4)}),
    (65_574_549, 256, NCSNpp, {**HIGH, "ch_mult": (1, 1, 2, 2, 2, 2, 2), "num_res_blocks": 2}),
    (
        105_785_896,
        1024,
        NCSNpp,
        {**HIGH, "nf": 16, "ch_mult": (1, 2, 4, 8, 16, 32, 32, 32), "num_res_blocks": 1},
    ),
]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("count, size, cls, options", PUBLISHED)
def test_parameter_counts_of_the_published_networks(count, size, cls, options):
    model = cls(**options)
    model.check(size, size)
    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    c_noise = jax.ShapeDtypeStruct((1,), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), x, c_noise)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


PLACED = {
    "conditions": (Text("abc", heads=2), Style(3, 4, 4)),
    "cross_heads": 2,
    "expected_places": True,
    "points": (0.0, 2.0, 3.0, 4.0),
    "dropout": 0.0,
}


def test_a_filter_of_a_block_carries_nothing_into_the_padding():
    block = ResidualBlock(4, jax.nn.swish, resample=lambda h: resize_up(h, (1.0, 3.0, 3.0, 1.0)))
    image = x[:1, :4, :6].repeat(2, axis=-1)
    params = random_parameters(block.init, jax.random.key(2), image)
    apply = quick_jit(block.apply)
    wide = jnp.pad(image, ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=9.0)
    y = apply(params, wide, real=jnp.arange(16)[None, None, :, None] < 12)
    np.testing.assert_allclose(y[:, :, :12], apply(params, image), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"resblock_type": "ddpm", "fir": False, "progressive_input": "input_skip"},
        PLACED | {"progressive": "output_skip"},
        {"progressive": "residual", "scan_blocks": True, "num_res_blocks": 2},
        {"patch_size": 2, "fir": False, "attn_resolutions": (2,)},
    ],
)
def test_outputs_at_real_columns_do_not_depend_on_the_padding(options):
    """Nor on what stands there, nor on how much of it there is, none included."""
    model = network(**{"dropout": 0.0, **options})
    cond = {"text": jnp.array([[1, 2, 3], [3, 1, 0]]), "style": jnp.ones((2, 3, 4))}
    cond = cond if "cross_heads" in options else {"labels": jnp.array([1, 2])}
    params = random_parameters(model.init, jax.random.key(2), x[:2], c_noise[:2], **cond)
    apply = quick_jit(model.apply)

    def of(x, width, rows=slice(None)):
        real = jnp.array([12, 8])[rows]
        mask = jnp.arange(width) < real[:, None]
        padded = jnp.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2]), (0, 0)), constant_values=9.0)
        given = {name: value[rows] for name, value in cond.items()}
        return apply(params, padded, c_noise[rows][: len(x)], mask=mask[:, None, :, None], **given)

    images = jax.random.normal(jax.random.key(5), (2, 8, 12, 3))
    y = of(images, 12)
    assert not y[1, :, 8:].any() and y[1, :, :8].all()
    other = images.at[1, :, 8:].set(jnp.nan)
    np.testing.assert_array_equal(of(other, 12), y)
    np.testing.assert_allclose(of(images, 16)[:, :, :12], y, rtol=0, atol=2e-5)
    alone = of(images[1:, :, :8], 8, slice(1, 2))
    np.testing.assert_allclose(alone[0], y[1, :, :8], rtol=0, atol=2e-5)


def test_characters_are_seen_first_where_they_are_expected():
    """The weights of a column are those of the Gaussian about the places, as long as queries and
    keys say nothing; tokens without a place are seen from everywhere, and padding is not."""
    places = expected_places(jnp.array([[1, 2, 3, 0]]), (0.0, 2.0, 3.0, 4.0))
    np.testing.assert_allclose(places.of[0, :3], np.array([1, 3.5, 7]) / 9, rtol=1e-6)
    mask = jnp.array([[1, 1, 1, 0, 1, 1]])
    tokens = Tokens(jax.random.normal(keys[0], (1, 6, 4)), mask, places)
    layer, image = CrossAttention(num_heads=2), x[:1, :2, :, :].repeat(2, axis=-1)
    real = jnp.arange(8)[None, None, :, None] < 6
    params = quick_jit(layer.init)(jax.random.key(2), image, tokens, real)
    params["params"]["query"] = jax.tree.map(jnp.zeros_like, params["params"]["query"])
    attend = quick_jit(functools.partial(layer.apply, mutable=["intermediates"]))
    _, kept = attend(params, image, tokens, real)
    weights = kept["intermediates"][ALIGNMENT][0][0, :6]
    # A character is a third of a line of 6 columns.
    distance = 3 * ((np.arange(6) + 0.5)[:, None] / 6 - np.array([1, 3.5, 7]) / 9)
    expected = np.exp(-((distance / NEAR) ** 2) / 2)
    expected /= expected.sum(1, keepdims=True) + 2
    np.testing.assert_allclose(weights, np.pad(expected, ((0, 0), (0, 1))), atol=1e-5)
