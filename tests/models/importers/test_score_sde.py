"""Names and shapes of official checkpoints; the values are tested through network outputs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import golden_network

from models.importers.score_sde import FLAX, params_from, params_from_torch
from tasks.conditions import ClassLabel


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
    with pytest.raises(ValueError, match="it has 16 layers, the model 17; it lacks"):
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


def test_the_same_network_in_flax_is_the_same_tree(official):
    """By class and number in place of one list, weights in the order of axes of ours."""
    state, model = {k: v for k, v in official[0].items() if "all_modules" in k}, official[1]
    classes = {"GroupNorm_0": "ResnetBlockDDPMpp", "NIN_3": "AttnBlockpp"}
    tree, numbers, seen = {}, {}, {}
    for name, value in state.items():
        n, inner = re.fullmatch(r"all_modules\.(\d+)\.(.+)", name).groups()
        if n not in seen:
            parts = {k.split(".")[2] for k in state if k.startswith(f"all_modules.{n}.")}
            known = [cls for mark, cls in classes.items() if mark in parts]
            cls = known[-1] if known else {1: "GroupNorm", 2: "Dense", 4: "Conv"}[value.ndim]
            cls = "GaussianFourierProjection" if "W" in parts else cls
            numbers[cls] = numbers.get(cls, -1) + 1
            seen[n] = f"{cls}_{numbers[cls]}"
        is_norm = "GroupNorm" in f"{seen[n]}/{inner}"
        leaf = "scale" if is_norm else "kernel"
        value = value[None, None, None] if is_norm else value
        if value.ndim == 4 and not is_norm:
            value = value.transpose(2, 3, 1, 0)
        elif inner.endswith("weight") and value.ndim == 2:
            value = value.T
        tree[f"{seen[n]}/{inner.replace('.', '/').replace('weight', leaf)}"] = value
    jax.tree.map(
        np.testing.assert_array_equal,
        params_from(FLAX, tree, model),
        params_from_torch(state, model),
    )
