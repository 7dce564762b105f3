"""torchvision's ResNet-50 as ours: every name, and the same logits as its definition in numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

from experiment import kinds
from models.importers.resnet import params_of, path_of
from models.layers.batch_norm import BatchNorms
from models.resnet import ResNet
from options.errors import InvalidValue
from storage.weights import load_weights
from tools.import_checkpoint import Wanted, import_checkpoint

FULL = {"width": 64, "blocks": (3, 4, 6, 3), "classes": 1000}
SMALL = {"width": 4, "blocks": (1, 2), "classes": 5}


def torchvision_shapes(width, blocks, classes):
    """Names and shapes of torchvision's state dict of a ResNet of bottlenecks."""
    shapes = {"conv1.weight": (width, 3, 7, 7)}

    def norm(name, channels):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{leaf}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", width)
    inputs = width
    for level, count in enumerate(blocks):
        inner = width * 2**level
        for i in range(count):
            at = f"layer{level + 1}.{i}"
            sizes = [(inner, inputs, 1), (inner, inner, 3), (4 * inner, inner, 1)]
            for k, (out, into, size) in enumerate(sizes):
                shapes[f"{at}.conv{k + 1}.weight"] = (out, into, size, size)
                norm(f"{at}.bn{k + 1}", out)
            if i == 0:
                shapes[f"{at}.downsample.0.weight"] = (4 * inner, inputs, 1, 1)
                norm(f"{at}.downsample.1", 4 * inner)
            inputs = 4 * inner
    return shapes | {"fc.weight": (classes, inputs), "fc.bias": (classes,)}


def random_state(seed=0, **of):
    """Seeded weights, none of them 0, of variances that keep activations of the order of 1."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in torchvision_shapes(**of).items():
        fan = max(1, int(np.prod(shape[1:])))
        drawn = rng.standard_normal(shape) / np.sqrt(fan)
        positive = name.endswith(("running_var", "weight")) and len(shape) == 1
        value = rng.uniform(0.5, 1.5, shape) if positive else drawn
        state[name] = np.asarray(value, np.float32)
    return state


def network(width, blocks, classes):
    widths = tuple(2**level for level in range(len(blocks)))
    return ResNet(
        num_classes=classes, nf=width, ch_mult=widths, num_res_blocks=blocks, norm=BatchNorms(),
        standardize=False, fourier_size=4, embed_dim=8,
    )  # fmt: skip


def initialised(model, size=32):
    images = jnp.zeros((1, size, size, 3))
    return random_parameters(model.init, jax.random.key(0), images, jnp.zeros(1))


def by_definition(state, x, blocks):
    """torchvision.models.ResNet in evaluation, with Bottleneck, in numpy; x: (b, 3, h, w)."""

    def conv(name, x, stride=1):
        w = state[f"{name}.weight"]
        size = w.shape[-1]
        pad = size // 2
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
        return np.einsum("bchwij,dcij->bdhw", windows[:, :, ::stride, ::stride], w)

    def norm(name, x):
        get = lambda leaf: state[f"{name}.{leaf}"][:, None, None]  # noqa: E731
        std = np.sqrt(get("running_var") + 1e-5)
        return (x - get("running_mean")) / std * get("weight") + get("bias")

    relu = functools.partial(np.maximum, 0)
    x = relu(norm("bn1", conv("conv1", np.float64(x), 2)))
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2].max((4, 5))
    for level, count in enumerate(blocks):
        for i in range(count):
            at, stride = f"layer{level + 1}.{i}", 2 if level and not i else 1
            h = relu(norm(f"{at}.bn1", conv(f"{at}.conv1", x)))
            h = relu(norm(f"{at}.bn2", conv(f"{at}.conv2", h, stride)))
            h = norm(f"{at}.bn3", conv(f"{at}.conv3", h))
            if i == 0:
                x = norm(f"{at}.downsample.1", conv(f"{at}.downsample.0", x, stride))
            x = relu(x + h)
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def test_every_parameter_of_resnet_50_has_its_place():
    """25,557,032 parameters, and 53,120 running statistics."""
    shapes, model = torchvision_shapes(**FULL), network(**FULL)
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    c_noise = jax.ShapeDtypeStruct((1,), jnp.float32)
    tree = jax.eval_shape(model.init, jax.random.key(0), x, c_noise)["params"]
    ours = {
        tuple(key.key for key in path): leaf.shape
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
    theirs = {name: shape for name, shape in shapes.items() if "tracked" not in name}
    assert sum(np.prod(shape) for shape in theirs.values()) == 25_557_032 + 53_120
    for name, shape in theirs.items():
        path = path_of(name)
        order = (2, 3, 1, 0) if len(shape) == 4 else (1, 0) if len(shape) == 2 else (0,)
        assert ours.pop(path) == tuple(shape[axis] for axis in order), name
    assert all("embedding" in path or "fourier" in path for path in ours)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_logits_are_those_of_the_definition_at_every_noise_level(prefix):
    state, model = random_state(**SMALL), network(**SMALL)
    x = np.random.default_rng(1).standard_normal((3, 16, 24, 3)).astype(np.float32)
    named = {prefix + name: value for name, value in state.items()}
    params = params_of(named, initialised(model)["params"])
    got = quick_jit(model.apply)({"params": params}, x, jnp.array([-3.0, 0.0, 4.0]))
    want = by_definition(state, x.transpose(0, 3, 1, 2), SMALL["blocks"])
    np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())


def test_a_last_layer_of_other_classes_begins_anew():
    model, few = network(**SMALL), network(**SMALL | {"classes": 3})
    fresh = initialised(few)["params"]
    params = params_of(random_state(**SMALL), fresh)
    jax.tree.map(np.testing.assert_array_equal, params["logits"], fresh["logits"])
    same = params_of(random_state(**SMALL), initialised(model)["params"])
    np.testing.assert_array_equal(params["conv_in"]["kernel"], same["conv_in"]["kernel"])


def test_what_does_not_fit_is_named():
    fresh, state = initialised(network(**SMALL))["params"], random_state(**SMALL)
    del state["layer2.1.bn3.running_var"]
    state["layer1.0.conv2.weight"] = np.zeros((4, 4, 5, 5), np.float32)
    state["classifier.weight"] = np.zeros((2, 2), np.float32)
    expected = (
        r"layer1.0.conv2.weight: got shape \(5, 5, 4, 4\), expected \(3, 3, 4, 4\); "
        "classifier.weight is unknown; group_1_block_1/norm_2/variance is missing"
    )
    with pytest.raises(InvalidValue, match=expected):
        params_of(state, fresh)


def test_a_file_of_it_becomes_weights_and_its_logits_are_compared(tmp_path):
    """As `python -m tools.import_checkpoint`; of safetensors, since PyTorch is not needed here."""
    numpy = pytest.importorskip("safetensors.numpy")
    state = random_state(**SMALL)
    numpy.save_file(state, tmp_path / "small.safetensors")
    x = np.random.default_rng(1).standard_normal((2, 3, 16, 16)).astype(np.float32)
    out = by_definition(state, x, SMALL["blocks"]).astype(np.float32)
    np.savez(tmp_path / "expected.npz", x=x, out=out)
    wanted = Wanted(expected=str(tmp_path / "expected.npz"))
    said = import_checkpoint(tmp_path / "small.safetensors", tmp_path / "made.npz", wanted)
    assert any("logits differs by" in line for line in said)
    assert "assumed the process: ve" in said and "assumed the size of images: 224" in said
    experiment = kinds.open_experiment(tmp_path / "made.npz")
    assert (experiment.task.network.num_res_blocks, experiment.task.network.nf) == ((1, 2), 4)
    found = load_weights(tmp_path / "made.npz", experiment.template)
    np.testing.assert_array_equal(found["norm_in"]["mean"], state["bn1.running_mean"])
    with pytest.raises(InvalidValue, match="model: .*norm=batch"):
        group = Wanted(config="digits/classifier")
        import_checkpoint(tmp_path / "small.safetensors", tmp_path / "other.npz", group)
