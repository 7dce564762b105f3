"""Names and shapes of official checkpoints; the values are tested through network outputs."""

import pickle
import re
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import golden_network

from tasks.conditions import ClassLabel
from tools.import_checkpoint import params_from_torch


@pytest.fixture(scope="module")
def official(golden):
    """The state dict of a fixture, and its network."""
    z = golden("x_ddpmblock_fir_noconv")
    state = {k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")}
    return state, golden_network(z)


def test_gives_the_models_own_tree(official):
    state, model = official
    params = params_from_torch({f"module.{k}": v for k, v in state.items()}, model)
    x = jnp.zeros((1, 16, 16, 3))
    expected = jax.eval_shape(model.init, jax.random.key(0), x, jnp.zeros(1))["params"]
    assert jax.tree.map(lambda a: (a.shape, a.dtype), params) == jax.tree.map(
        lambda a: (a.shape, a.dtype), expected
    )
    kernel = params["down_0"]["unit_0"]["block"]["conv_1"]["kernel"]
    np.testing.assert_array_equal(
        kernel[2, 1, 5, 7], state["all_modules.4.Conv_1.weight"][7, 5, 2, 1]
    )


def test_how_a_network_is_to_be_run_does_not_matter(official):
    state, model = official
    other = model.clone(scan_blocks=True, remat=True, dtype="bfloat16")
    jax.tree.map(
        np.testing.assert_array_equal,
        params_from_torch(state, other),
        params_from_torch(state, model),
    )


def test_every_misfit_is_named(official):
    state, model = official
    bad = dict(state)
    bad["all_modules.8.Conv_0.weight"] = np.zeros((32, 32, 1, 1))
    bad["all_modules.4.Conv_9.bias"] = bad.pop("all_modules.4.Conv_1.bias")
    with pytest.raises(ValueError, match="not of this NCSNpp") as error:
        params_from_torch(bad, model)
    for part in (
        "all_modules.8.Conv_0.weight: got shape (1, 1, 32, 32)",
        "for middle_0/conv_0/kernel, expected (3, 3, 32, 32)",
        "all_modules.4.Conv_9.bias is unknown",
        "all_modules.4 lacks down_0/unit_0/block/conv_1/bias",
    ):
        assert re.search(re.escape(part), str(error.value)), part


def test_layers_too_many_or_too_few(official):
    state, model = official
    with pytest.raises(ValueError, match="it has 16 layers, the model 17"):
        params_from_torch({k: v for k, v in state.items() if "all_modules.18." not in k}, model)
    with pytest.raises(ValueError, match="it has 17 layers, the model"):
        params_from_torch(state, model.clone(num_res_blocks=2))


def test_names_of_something_else(official):
    with pytest.raises(ValueError, match="official score-SDE network: conv1.weight"):
        params_from_torch({"conv1.weight": np.zeros(3)}, official[1])


def test_a_class_conditional_network_is_not_filled_in_part(official):
    state, model = official
    with pytest.raises(ValueError, match="no such parameters as embedding/labels/embedding"):
        params_from_torch(state, model.clone(conditions=(ClassLabel(10),)))


def test_names_and_shapes_of_an_official_checkpoint(golden):
    expected = golden("checkpoint_tiny_expected")
    state = _shapes_only(golden.path / "checkpoint_tiny.pth")
    assert len(state) == 158 and all(name.startswith("module.") for name in state)
    params = params_from_torch(state, golden_network(expected))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == sum(
        v.size for name, v in state.items() if not name.endswith("sigmas")
    )


def _shapes_only(path) -> dict[str, np.ndarray]:
    """The "model" entry of a zip .pth, zeros for its numbers."""

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            if name == "_rebuild_tensor_v2":
                return lambda storage, offset, size, *_: np.zeros(size)
            return None if module == "torch" else super().find_class(module, name)

        def persistent_load(self, saved_id):
            return None

    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        with archive.open(name) as file:
            return Reader(file).load()["model"]
