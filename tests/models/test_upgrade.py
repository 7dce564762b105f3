"""Weights that were saved before are those of the networks of today."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from models import NCSNpp
from models.layers.conditioning import LEVEL_DIM
from models.upgrade import upgrade_upsampler
from storage.weights import flatten_shapes, load_weights, read_meta
from tasks.conditions import ClassLabel, LowResolution

PRETRAINED = pathlib.Path(__file__).parents[2] / "pretrained"
# The first outputs of each network on the inputs below, as they were before conditions.
EXPECTED = {
    "digits": [0.9923353, 1.1049445, 0.9854838],
    "emoji": [-1.2721326, -1.1011119, -1.2541914],
    "emoji_base_8": [-1.0748786, -0.9476801, -1.1319672],
    "emoji_up_16": [-1.0923237, -0.9512293, -1.2534025],
    "emoji_up_32": [-1.0331876, -1.1017238, -1.1211162],
}
SIZES = {"emoji_up_16": (8, 16), "emoji_up_32": (16, 32)}


@pytest.mark.parametrize("name", EXPECTED)
def test_shipped_weights_fit_and_give_the_outputs_that_they_gave(name):
    file = PRETRAINED / f"{name}.npz"
    params, config = upgrade_upsampler(load_weights(file)), read_meta(file)["config"]
    data, fields = config["data"], config["model"]
    size, channels = data["image_size"], data["num_channels"]
    conditions = (ClassLabel(data["num_classes"], 0.1),)
    cond = {"labels": jnp.array([0, 3])}
    if name in SIZES:
        small = SIZES[name][0]
        conditions = (*conditions, LowResolution(small, 0.5))
        image = jax.random.normal(jax.random.key(2), (2, small, small, channels))
        cond["low"] = {"image": image, "level": jnp.array([0.1, 0.4])}
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k != "name"}
    network = NCSNpp(**options, conditions=conditions)
    x = jax.random.normal(jax.random.key(1), (2, size, size, channels))
    t = jnp.array([300.0, 700.0])
    wanted = jax.eval_shape(network.init, jax.random.key(0), x, t, **cond)["params"]
    assert flatten_shapes(params) == flatten_shapes(wanted)
    y = quick_jit(network.apply)({"params": params}, x, t, **cond)
    np.testing.assert_allclose(y.reshape(-1)[:3], EXPECTED[name], rtol=1e-4)


def test_an_augmentation_keeps_its_rows():
    kernel = jnp.arange(2.0 * (9 + LEVEL_DIM)).reshape(-1, 2)
    old = {"unet": {"conv_in": {}, "embedding": {"augment": {"kernel": kernel}}}}
    new = upgrade_upsampler(old)
    np.testing.assert_array_equal(new["embedding"]["augment"]["kernel"], kernel[:9])
    np.testing.assert_array_equal(new["embedding"]["low"]["kernel"], kernel[9:])
    assert upgrade_upsampler(new) == new and "augment" in old["unet"]["embedding"]
