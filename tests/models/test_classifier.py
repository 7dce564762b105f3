"""The classifiers of noisy pictures: published sizes, what they are told, what they refuse."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from models import CLASSIFIERS
from models.classifier import standardize
from models.resnet import ResNet
from models.wide_resnet import WideBlock, WideResNet

SMALL = {"nf": 8, "fourier_size": 4, "fourier_scale": 1.0, "embed_dim": 16, "num_classes": 3}
NETWORKS = {
    "wide_resnet": WideResNet(stem=4, num_res_blocks=1, ch_mult=(1, 2), **SMALL),
    "resnet": ResNet(stem="small", num_res_blocks=(1, 1), ch_mult=(1, 2), **SMALL),
}
x = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
c_noise = jnp.linspace(-1.0, 1.0, 4)
keys = jax.random.split(jax.random.key(1), 4)


def parameters(network, shape) -> dict:
    """Numbers of parameters of a network on pictures of this shape, by name of the first layer."""
    network.check(*shape[:2])
    arguments = (jax.random.key(0), jnp.zeros((1, *shape)), jnp.zeros(1))
    return jax.eval_shape(network.init, *arguments)["params"]


def size(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_published_wide_resnet_has_its_parameters():
    assert size(parameters(WideResNet(), (32, 32, 3))) == 38_913_242


def test_resnet_50_has_its_parameters():
    """He et al.'s, and beside them the layers that tell the noise level."""
    found = parameters(ResNet(num_classes=1000), (224, 224, 3))
    told = size([found["fourier"], found["embedding"]])
    told += sum(
        size(layer.get("embedding", {})) for name, layer in found.items() if "block" in name
    )
    assert size(found) - told == 25_557_032


@pytest.fixture(scope="module", params=NETWORKS)
def made(request):
    """A network, parameters that are all at work, and its compiled function."""
    network = NETWORKS[request.param]

    def init(key):
        leaves, tree = jax.tree.flatten(network.init(key, x, c_noise))
        each = zip(leaves, jax.random.split(key, len(leaves)), strict=True)
        moved = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for leaf, key in each]
        return jax.tree.unflatten(tree, leaves), jax.tree.unflatten(tree, moved)

    first, params = quick_jit(init)(jax.random.key(2))
    apply = quick_jit(network.apply)
    np.testing.assert_allclose(apply(first, x, c_noise), 0.0, atol=1e-3)  # all classes are alike
    return network, params, apply


@pytest.mark.one_in(2)
def test_the_noise_level_matters(made):
    _, params, apply = made
    logits = apply(params, x, c_noise)
    assert logits.shape == (4, 3) and logits.dtype == jnp.float32
    assert np.abs(logits - apply(params, x, c_noise + 0.3)).max(axis=1).min() > 1e-3


def test_what_is_said_of_a_picture_does_not_depend_on_its_batch(made):
    _, params, apply = made
    turned = jnp.array([2, 3, 0, 1])
    np.testing.assert_allclose(
        apply(params, x[turned], c_noise[turned]),
        apply(params, x, c_noise)[turned],
        rtol=1e-4,
        atol=1e-5,
    )


def test_dropout_is_by_the_key_of_each_picture(made):
    network, params, _ = made
    apply = quick_jit(network.clone(dropout=0.5).apply)
    y = apply(params, x, c_noise, dropout_keys=keys)
    turned = jnp.array([2, 3, 0, 1])
    z = apply(params, x[turned], c_noise[turned], dropout_keys=keys[turned])
    np.testing.assert_allclose(z, y[turned], rtol=1e-4, atol=1e-4)
    assert not np.allclose(y, apply(params, x, c_noise), atol=1e-3)


def test_the_gradient_is_that_of_finite_differences(made):
    """Of log p in the picture, along a random direction: what guides."""
    network, params, _ = made
    with jax.enable_x64(True):
        smooth = network.clone(nonlinearity="swish", dtype="float64")
        params64 = jax.tree.map(lambda p: p.astype(jnp.float64), params)
        direction = jax.random.normal(jax.random.key(4), x.shape, jnp.float64)

        def log_p(step):
            logits = smooth.apply(params64, x.astype(jnp.float64) + step * direction, c_noise)
            return jnp.sum(jax.nn.log_softmax(logits)[:, 1])

        values = quick_jit(jax.vmap(log_p))(jnp.array([-1e-3, 1e-3]))
        slope = quick_jit(jax.grad(log_p))(0.0)
    # The norms keep their statistics in float32, so the step cannot be smaller.
    assert float(slope) == pytest.approx(float(values[1] - values[0]) / 2e-3, rel=0.01)


def test_standardized_pictures_have_no_brightness_and_no_contrast():
    y = standardize(3.0 * x + 2.0)
    np.testing.assert_allclose(y, standardize(x), atol=1e-5)
    np.testing.assert_allclose(jnp.mean(y, (1, 2, 3)), 0.0, atol=1e-6)
    np.testing.assert_allclose(jnp.std(y, (1, 2, 3)), 1.0, rtol=1e-5)
    # A flat picture, whose deviation is 0, stays finite, and so does its gradient.
    flat = jnp.ones((1, 8, 8, 3))
    assert np.all(standardize(flat) == 0)
    assert np.all(np.isfinite(jax.grad(lambda x: jnp.sum(standardize(x) ** 2))(flat)))


def test_a_shortcut_is_means_over_squares_and_zeros():
    """With convolutions of zeros, a block is its shortcut."""
    block = WideBlock(8, nn.relu, stride=2)
    embedding = jnp.ones((4, 16))
    shapes = jax.eval_shape(block.init, jax.random.key(0), x, embedding)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    y = block.apply(params, x, embedding)
    assert y.shape == (4, 4, 4, 8)
    np.testing.assert_allclose(y[..., :3], nn.avg_pool(x, (2, 2), (2, 2)), rtol=1e-5, atol=1e-6)
    assert np.all(y[..., 3:] == 0)


def test_a_strided_block_pads_as_the_published_one():
    """Which has padding "SAME": of an even size one row after and none before."""
    block = WideBlock(3, nn.relu, stride=2)
    embedding = jnp.zeros((4, 16))
    params = quick_jit(block.init)(jax.random.key(0), x, embedding)["params"]
    h = nn.relu(nn.GroupNorm(1, epsilon=1e-5).apply({"params": params["norm_0"]}, x))
    h = nn.Conv(3, (3, 3), 2, padding="SAME", use_bias=False).apply({"params": params["conv_0"]}, h)
    h = nn.relu(nn.GroupNorm(1, epsilon=1e-5).apply({"params": params["norm_1"]}, h))
    h = nn.Conv(3, (3, 3), padding="SAME", use_bias=False).apply({"params": params["conv_1"]}, h)
    expected = h + nn.avg_pool(x, (2, 2), (2, 2))
    found = block.apply({"params": params}, x, embedding)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_patches_and_bfloat16():
    network = WideResNet(stem=4, num_res_blocks=1, ch_mult=(1,), patch_size=2, **SMALL)
    params = jax.eval_shape(network.init, jax.random.key(2), x, c_noise)
    assert params["params"]["conv_in"]["kernel"].shape == (3, 3, 12, 4)
    half = network.clone(dtype="bfloat16")
    shapes = jax.eval_shape(half.init, jax.random.key(2), x, c_noise)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    assert jax.eval_shape(half.apply, params, x, c_noise).dtype == jnp.float32


@pytest.mark.parametrize(
    ("name", "field", "options", "side"),
    [
        ("wide_resnet", "num_classes", {"num_classes": 1}, 32),
        ("wide_resnet", "nf", {"nf": 0}, 32),
        ("wide_resnet", "stem", {"stem": 0}, 32),
        ("wide_resnet", "num_res_blocks", {"num_res_blocks": 0}, 32),
        ("wide_resnet", "ch_mult", {}, 30),
        ("wide_resnet", "ch_mult", {"ch_mult": ()}, 32),
        ("wide_resnet", "ch_mult", {"ch_mult": (2, 1)}, 32),
        ("wide_resnet", "ch_mult", {"stem": 200}, 32),
        ("wide_resnet", "ch_mult", {"patch_size": 16}, 32),
        ("wide_resnet", "dropout", {"dropout": 1.0}, 32),
        ("wide_resnet", "embedding_type", {"embedding_type": "sine"}, 32),
        ("wide_resnet", "fourier_size", {"fourier_size": 1}, 32),
        ("wide_resnet", "embed_dim", {"embed_dim": 0}, 32),
        ("wide_resnet", "nonlinearity", {"nonlinearity": "gelu"}, 32),
        ("wide_resnet", "patch_size", {"patch_size": 0}, 32),
        ("wide_resnet", "dtype", {"dtype": "float16"}, 32),
        ("resnet", "stem", {"stem": "tiny"}, 32),
        ("resnet", "ch_mult", {}, 48),
        ("resnet", "num_res_blocks", {"num_res_blocks": (3, 4, 6)}, 32),
        ("resnet", "num_res_blocks", {"num_res_blocks": (3, 4, 6, 0)}, 32),
    ],
)
def test_what_cannot_do_is_refused_by_name(name, field, options, side):
    with pytest.raises(ValueError, match=f"^{field}: got"):
        CLASSIFIERS[name](**options).check(side, side)


def test_what_can_do_passes():
    WideResNet().check(32, 32)
    WideResNet(ch_mult=(1, 2), patch_size=2).check(28, 28)
    ResNet().check(32, 64)
    ResNet(stem="small").check(8, 8)
