"""The names and shapes of the parameters of 31 official configurations are the networks of ours."""

import dataclasses
import gzip
import json

import jax
import numpy as np
import pytest

from experiment import kinds
from models import MODELS
from models.importers import refinenet
from models.importers.call_order import shapes_of
from models.importers.score_sde import FLAX, TORCH, params_from
from models.importers.topology import topology

# Official configurations and those that are shipped; others have the tree of one of these.
SHIPPED = {
    "ve.cifar10_ncsnpp_continuous": "ve/cifar10_ncsnpp",
    "ve.cifar10_ncsnpp_deep_continuous": "ve/cifar10_ncsnpp_deep",
    "ve.cifar10_ncsnpp": "ve/cifar10_ncsnpp_discrete",
    "vp.cifar10_ddpmpp_continuous": "vp/cifar10_ddpmpp",
    "vp.cifar10_ddpmpp_deep_continuous": "vp/cifar10_ddpmpp_deep",
    "subvp.cifar10_ddpmpp_continuous": "subvp/cifar10_ddpmpp",
    "subvp.cifar10_ddpmpp_deep_continuous": "subvp/cifar10_ddpmpp_deep",
    "vp.cifar10_ncsnpp_continuous": "vp/cifar10_ncsnpp",
    "vp.ddpm.cifar10_continuous": "vp/cifar10_ddpm",
    "ve.bedroom_ncsnpp_continuous": "ve/bedroom_256",
    "ve.church_ncsnpp_continuous": "ve/church_256",
    "ve.ffhq_256_ncsnpp_continuous": "ve/ffhq_256",
    "ve.ffhq_ncsnpp_continuous": "ve/ffhq_1024",
}
FIRST_OF_TREE = {0: 16, 1: 16, 2: 16, 3: 16, 4: 16, 5: 16, 6: 16, 7: 16, 8: 16, 11: 16, 12: 16}


@pytest.fixture(scope="module")
def names(golden):
    with gzip.open(golden.path / "legacy_flax_param_names.json.gz") as file:
        return json.load(file)


def stand_ins(tree):
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in tree.items()}


def found_in(tree):
    return topology(FLAX.groups(stand_ins(tree)), FLAX.reorder)


@pytest.mark.parametrize("theirs", SHIPPED)
def test_the_network_of_a_shipped_configuration_is_found(theirs, names):
    found = found_in(names["trees"][names["configs"][f"configs.{theirs}"]["tree"]])
    config = kinds.load(SHIPPED[theirs])
    assert found.name == config.model.name
    model = config.model.to_dict()
    assert found.fields == {field: model[field] for field in found.fields}
    size = config.data.image_size[0]
    placed = [[size >> level for level in run] for run in found.possible_attention]
    assert list(model["attn_resolutions"]) in placed
    assert (found.in_channels, found.out_channels) == (3, 3)


@pytest.mark.parametrize(
    "fixture", ["i_ve_ncsnpp", "ii_ve_reduced", "iii_vp_ddpmpp", "iv_vp_ddpm", "v_ve_skip64"]
)
def test_a_state_dict_says_where_attention_is_too(fixture, golden):
    z = golden(fixture)
    state = {k.removeprefix("param/"): z[k] for k in z.files if k.startswith("param/")}
    found = topology(TORCH.groups(state), TORCH.reorder)
    config = json.loads(str(z["config_json"]))
    model, size = config["model"], config["data"]["image_size"]
    theirs = {k: tuple(v) if type(v) is list else v for k, v in model.items()}
    assert found.name == model["name"]
    known = found.fields.keys() & theirs.keys()
    assert {k: found.fields[k] for k in known} == {k: theirs[k] for k in known}
    assert [size >> level for level in found.attention] == model["attn_resolutions"]


@pytest.mark.parametrize(
    "tree",
    [pytest.param(n, marks=() if n == 12 else pytest.mark.slow) for n in FIRST_OF_TREE],
)
def test_every_official_tree_fits_with_nothing_left_over(tree, names):
    arrays = stand_ins(names["trees"][tree])
    found = found_in(names["trees"][tree])
    levels = found.possible_attention[0]
    size = FIRST_OF_TREE[tree] << levels[0]
    fields = found.fields | {"attn_resolutions": tuple(size >> level for level in levels)}
    known = {field.name for field in dataclasses.fields(MODELS[found.name])}
    model = MODELS[found.name](**{k: v for k, v in fields.items() if k in known})
    params = params_from(FLAX, arrays, model, size)
    numbers = sum(array.size for array in arrays.values())
    leaves = [params]
    while any(type(leaf) is dict for leaf in leaves):
        leaves = [x for leaf in leaves for x in (leaf.values() if type(leaf) is dict else [leaf])]
    assert sum(leaf.size for leaf in leaves) == numbers


REFINED = {
    "ve.ncsnv2.cifar10": "ve/ncsnv2_cifar10",
    "ve.ncsnv2.celeba": "ve/ncsnv2_celeba_64",
    "ve.ncsnv2.bedroom": "ve/ncsnv2_bedroom_128",
}


@pytest.mark.parametrize("theirs", REFINED)
def test_the_refinenet_of_a_shipped_configuration_is_found(theirs, names):
    tree = names["trees"][names["configs"][f"configs.{theirs}"]["tree"]]
    found = refinenet.network_of(refinenet.FLAX, stand_ins(tree))
    model = kinds.experiment(kinds.load(REFINED[theirs])).options.model
    assert (MODELS[found.name], found.channels) == (type(model), 3)
    assert found.fields == {field: getattr(model, field) for field in found.fields}
    ours = shapes_of(model, (1, 16, 16, 3))
    assert sorted(refinenet.name_of(refinenet.FLAX, path, model) for path in ours) == sorted(tree)


@pytest.mark.slow
@pytest.mark.parametrize("tree", [9, 10])
def test_every_official_refinenet_fits_with_nothing_left_over(tree, names):
    arrays = stand_ins(names["trees"][tree])
    found = refinenet.network_of(refinenet.FLAX, arrays)
    params = refinenet.params_from(refinenet.FLAX, arrays, MODELS[found.name](**found.fields), 3)
    leaves = jax.tree.leaves(params)
    assert sum(leaf.size for leaf in leaves) == sum(array.size for array in arrays.values())


def test_networks_of_another_kind_are_refused(names):
    arrays = stand_ins(names["trees"][9])
    with pytest.raises(ValueError, match="not names of an official score-SDE network: .*Refine"):
        FLAX.groups(arrays)
    with pytest.raises(ValueError, match="0 residual blocks and 1 convolutions are of no U-Net"):
        topology(FLAX.groups({"Conv_0/kernel": np.zeros((3, 3, 3, 8))}), FLAX.reorder)
