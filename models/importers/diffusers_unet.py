"""The parameters of diffusers' UNet2DModel as those of our NCSN++ and DDPM, and back.

Their blocks are numbered in the order of their calls, so the coarsest level comes first on the way
up. Which configurations of theirs are networks of ours is in `diffusers_config`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from models.importers.account import Account, to_torch
from models.importers.call_order import Path, shapes_of
from options.errors import InvalidValue

BLOCK = {
    "norm_0": "norm1",
    "conv_0": "conv1",
    "embedding": "time_emb_proj",
    "norm_1": "norm2",
    "conv_1": "conv2",
    "shortcut": "conv_shortcut",
}
ATTENTION = {
    "norm": "group_norm",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "out": "to_out.0",
}
FREQUENCIES, TWIN = "time_proj.weight", "time_proj.W"  # which older files have twice
OLDER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
ATTENTIONS = {"attentions"}  # lists of layers whose names were others
CONVOLVED = ("conv_shortcut", "skip_conv")  # matrices of ours that are 1x1 kernels there
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "W": "weight"}

# Our layer and theirs: {n} is the level, {up} its number among the blocks of the way up, {unit} the
# number in the level.
LAYERS: list[tuple[str, str]] = [
    (r"fourier", "time_proj"),
    (r"embedding/dense_0", "time_embedding.linear_1"),
    (r"embedding/dense_1", "time_embedding.linear_2"),
    (r"shrink_(\d+)/conv", "down_blocks.{n}.downsamplers.0.conv"),
    (r"grow_(\d+)/conv", "up_blocks.{up}.upsamplers.0.conv"),
    (r"pyramid_in_(\d+)", "down_blocks.{n}.skip_conv"),
    (r"pyramid_out_0_norm|norm_out", "conv_norm_out"),
    (r"pyramid_out_0|conv_out", "conv_out"),
    (r"conv_in", "conv_in"),
    (r"pyramid_out_(\d+)_norm", "up_blocks.{up}.skip_norm"),
    (r"pyramid_out_(\d+)", "up_blocks.{up}.skip_conv"),
]
BLOCKS: list[tuple[str, str]] = [
    (r"down_(\d+)/unit_(\d+)/block", "down_blocks.{n}.resnets.{unit}"),
    (r"down_(\d+)/unit_(\d+)/attention", "down_blocks.{n}.attentions.{unit}"),
    (r"shrink_(\d+)", "down_blocks.{n}.resnet_down"),
    (r"middle_(\d+)", "mid_block.resnets.{n}"),
    (r"middle_attention", "mid_block.attentions.0"),
    (r"up_(\d+)/unit_(\d+)/block", "up_blocks.{up}.resnets.{unit}"),
    (r"up_(\d+)/unit_(\d+)/attention", "up_blocks.{up}.attentions.{unit}"),
    (r"up_(\d+)_attention", "up_blocks.{up}.attentions.0"),
    (r"grow_(\d+)", "up_blocks.{up}.resnet_up"),
]


def name_of(path: Path, num_levels: int) -> str:
    """What a parameter of ours is called there; "" for one that it has not."""
    *module, leaf = path
    layer = _named(LAYERS, "/".join(module), num_levels)
    if layer:
        return f"{layer}.{LEAVES[leaf]}"
    outer, part = block_name(module[:-1], num_levels), module[-1]
    inner = (ATTENTION if "attention" in "/".join(module[:-1]) else BLOCK).get(part)
    return f"{outer}.{inner}.{LEAVES[leaf]}" if outer and inner else ""


def block_name(module: Sequence[str], num_levels: int) -> str:
    """What a block of ours is called there; "" for one that it has not."""
    return _named(BLOCKS, "/".join(module), num_levels)


def _named(table: list[tuple[str, str]], place: str, num_levels: int) -> str:
    for pattern, name in table:
        match = re.fullmatch(pattern, place)
        if match:
            level, unit = (int(n) if n else 0 for n in (*match.groups(), None, None)[:2])
            return name.format(n=level, up=num_levels - 1 - level, unit=unit)
    return ""


def params_from_diffusers(
    state_dict: Mapping[str, np.ndarray], model: Any, shape: tuple[int, ...]
) -> dict[str, Any]:
    """The parameter tree of `model`, float32 numpy; names of attention may be the older ones.

    shape: of an image, (height, width, channels).

    Raises:
      InvalidValue: names every parameter that is unknown, missing or of another shape.
    """
    theirs = {modern(name): array for name, array in state_dict.items()}
    twin = theirs.get(TWIN)
    if twin is not None and np.array_equal(twin, theirs.setdefault(FREQUENCIES, twin)):
        del theirs[TWIN]
    account = Account(shapes_of(model, (1, *shape)), theirs)
    for path in account.shapes:
        account.fill(path, name_of(path, len(model.ch_mult)))
    return account.params(type(model).__name__)


def modern(name: str) -> str:
    """The present name of a layer of attention."""
    *outer, layer, leaf = ["", *name.split(".")]
    in_attention = len(outer) > 1 and outer[-2] in ATTENTIONS
    return ".".join([*outer, OLDER[layer], leaf])[1:] if in_attention and layer in OLDER else name


def state_dict_of(params: Mapping[str, Any], model: Any) -> dict[str, np.ndarray]:
    """The inverse of `params_from_diffusers`; InvalidValue for parameters that it has not."""
    found = {}
    for path, array in flatten_dict(params).items():
        name = name_of(path, len(model.ch_mult))
        if not name:
            but = f"diffusers has nothing that is {'/'.join(path)}"
            raise InvalidValue("model", but=but)
        is_conv = name.rpartition(".")[0].endswith(CONVOLVED)
        found[name] = to_torch(np.asarray(array), is_conv)
    return found
