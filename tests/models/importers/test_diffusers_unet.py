"""UNet2DModel at its published size, with weights by a rule of their names."""

import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import MODELS
from models.importers.call_order import shapes_of
from models.importers.diffusers_config import config_of, fields_of, groups_that_differ
from models.importers.diffusers_unet import name_of, params_from_diffusers


def by_rule(name: str, shape: list[int]) -> np.ndarray:
    """What the recorded outputs were made with."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.startswith("time_proj"):
        return (16 * z).astype(np.float32)
    if "norm" in name and name.endswith(".weight"):
        return (1 + 0.1 * z).astype(np.float32)
    if name.endswith(".bias"):
        return (0.1 * z).astype(np.float32)
    return (z / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


@pytest.mark.slow
def test_the_published_network_at_256_px(golden):
    """Its 65.6 million parameters, on 64 px, where attention is at 4."""
    z = golden("diffusers_ncsnpp_256config/expected")
    info = json.loads(str(z["info_json"]))
    name, fields = fields_of(info["config"])
    assert fields["attn_resolutions"] == (16,)
    model = MODELS[name](**fields | {"attn_resolutions": (4,)})
    assert groups_that_differ(MODELS[name](**fields), 256) == []
    shapes = {k: v[0] for k, v in info["state_dict_shape_sum_first"].items()}
    state = {k: by_rule(k, shape) for k, shape in shapes.items()}
    params = params_from_diffusers(state, model, (64, 64, 3))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == info["n_params"] == 65_574_549
    x, t = np.moveaxis(z["sample"], 1, -1), z["timestep"]
    out = jax.jit(model.apply)({"params": params}, 2 * jnp.asarray(x) - 1, jnp.log(t))
    out = np.moveaxis(np.asarray(out / t[:, None, None, None]), -1, 1)
    assert np.abs(out - z["out"]).max() <= 4 * info["max_abs_f32_vs_f64"]


@pytest.mark.parametrize(
    "fixture",
    ["diffusers_ddpm", pytest.param("diffusers_ncsnpp_256config", marks=pytest.mark.slow)],
)
def test_every_parameter_has_a_name_of_its_own(fixture, golden):
    config = json.loads((golden.path / fixture / "config.json").read_text())
    name, fields = fields_of(config)
    model = MODELS[name](**fields | {"dropout": 0.0})
    size = config["sample_size"]
    info = json.loads(str(golden(f"{fixture}/expected")["info_json"]))
    theirs = info.get("state_dict") or info["state_dict_shape_sum_first"]
    ours = [name_of(path, len(model.ch_mult)) for path in shapes_of(model, (1, size, size, 3))]
    assert sorted(ours) == sorted(theirs)
    again = config_of(model, name, (size, size, 3), config["center_input_sample"])
    assert {k: again.get(k) for k in config if k[0] != "_"} == {
        k: v for k, v in config.items() if k[0] != "_"
    }


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"skip_rescale": False}, "model.skip_rescale: got False, but UNet2DModel has only"),
        ({"nonlinearity": "relu"}, "model.nonlinearity: got 'relu'"),
        ({"nf": 32}, "model.nf: got attention at level 4 .64 channels."),
    ],
)
def test_a_network_that_diffusers_has_not_is_refused(change, expected, golden):
    config = json.loads((golden.path / "diffusers_ncsnpp_256config/config.json").read_text())
    _, fields = fields_of(config)
    with pytest.raises(ValueError, match=expected):
        config_of(MODELS["ncsnpp"](**fields | change), "ncsnpp", (256, 256, 3), True)
