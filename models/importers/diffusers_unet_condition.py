"""Configurations and parameters of diffusers' UNet2DConditionModel as our `UNetCondition`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.importers import diffusers_unet
from models.importers.account import Account
from models.importers.call_order import MOST_LAYERS, Path, shapes_of
from options.choices import require
from options.errors import InvalidValue

# The defaults of its constructor that are not what ours has, where a configuration does not say.
DEFAULTS: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": (*3 * ("CrossAttnDownBlock2D",), "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *3 * ("CrossAttnUpBlock2D",)),
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "dropout": 0.0,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "attention_head_dim": 8,
    "num_attention_heads": None,
}
# What a configuration may say, where it says it.
ONLY: dict[str, Any] = {
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "only_cross_attention": False,
    "downsample_padding": 1,
    "act_fn": "silu",
    "reverse_transformer_layers_per_block": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "dual_cross_attention": False,
    "class_embed_type": None,
    "addition_embed_type": None,
    "num_class_embeds": None,
    "resnet_time_scale_shift": "default",
    "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1.0,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "time_cond_proj_dim": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "projection_class_embeddings_input_dim": None,
    "attention_type": "default",
    "class_embeddings_concat": False,
    "cross_attention_norm": None,
}
DOWN, UP = ("DownBlock2D", "CrossAttnDownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")

ATTENTION = "attention"  # in the path of a transformer of ours
TRANSFORMER = {"norm": "norm", "enter": "proj_in", "leave": "proj_out"}
LAYER = {
    "norm_0": "norm1",
    "norm_1": "norm2",
    "norm_2": "norm3",
    "self": "attn1",
    "cross": "attn2",
    "expand": "ff.net.0.proj",
    "contract": "ff.net.2",
}
HEADS = {"query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}


def fields_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Our fields for the configuration of a UNet2DConditionModel, config.json.

    Raises:
      InvalidValue: the field of theirs that ours has nothing for.
    """
    given = DEFAULTS | dict(config)
    for name, value in ONLY.items():
        got = given.get(name, value)
        if got != value:
            raise InvalidValue(name, got, but=f"ours, unet_condition, has {value!r}")
    down, up = given["down_block_types"], given["up_block_types"]
    for name, kinds, known in (("down_block_types", down, DOWN), ("up_block_types", up, UP)):
        require({*kinds} <= {*known}, name, kinds, f"{known[0]}, {known[1]}")
    attending = [kind == DOWN[1] for kind in down]
    mirrored = [kind == UP[1] for kind in reversed(up)]
    require(attending == mirrored, "up_block_types", up, "attention at the levels of the way down")
    both = given["in_channels"], given["out_channels"]
    require(both[0] == both[1], "out_channels", both[1], f"as many as in_channels, {both[0]}")
    layers = given["layers_per_block"]
    small = type(layers) is int and 0 < max(layers, len(down)) <= MOST_LAYERS
    require(small, "layers_per_block", layers, f"one number, at most {MOST_LAYERS}")
    depth = given["transformer_layers_per_block"]
    one = type(depth) is int and 0 < depth <= MOST_LAYERS
    require(one, "transformer_layers_per_block", depth, f"one number, at most {MOST_LAYERS}")
    width = given["cross_attention_dim"]
    require(type(width) is int, "cross_attention_dim", width, "one number")
    # `attention_head_dim` is the number of heads, by an old mistake that files rely on.
    heads = given["num_attention_heads"] or given["attention_head_dim"]
    each = tuple(heads) if type(heads) is list else (heads,) * len(down)
    return {
        "widths": tuple(given["block_out_channels"]),
        "num_res_blocks": layers,
        "attention_levels": tuple(i for i, attends in enumerate(attending) if attends),
        "num_heads": each,
        "depth": depth,
        "groups": given["norm_num_groups"],
        "epsilon": float(given["norm_eps"]),
        "dropout": float(given["dropout"] or 0.0),
    }


def features_of(config: Mapping[str, Any]) -> int:
    """The width of the tokens that it attends to."""
    return (DEFAULTS | dict(config))["cross_attention_dim"]


def name_of(path: Path, num_levels: int) -> str:
    """What a parameter of ours is called there; "" for one that it has not."""
    at = next((i for i, part in enumerate(path) if part.endswith(ATTENTION)), None)
    if at is None:
        return diffusers_unet.name_of(path, num_levels)
    *inner, leaf = path[at + 1 :]
    outer = diffusers_unet.block_name(path[: at + 1], num_levels)
    if len(inner) == 1:
        return f"{outer}.{TRANSFORMER[inner[0]]}.{diffusers_unet.LEAVES[leaf]}"
    number, part = inner[0].removeprefix("layer_"), LAYER[inner[1]]
    names = [outer, "transformer_blocks", number, part, *(HEADS[name] for name in inner[2:])]
    return ".".join([*names, diffusers_unet.LEAVES[leaf]])


def params_from_diffusers(
    state_dict: Mapping[str, np.ndarray], model: Any, shape: tuple[int, ...]
) -> dict[str, Any]:
    """The parameter tree of `model`, float32 numpy.

    shape: of an image, (height, width, channels).

    Raises:
      InvalidValue: names every parameter that is unknown, missing or of another shape.
    """
    account = Account(shapes_of(model, (1, *shape), model.conditions), state_dict)
    for path in account.shapes:
        account.fill(path, name_of(path, len(model.widths)))
    return account.params("UNetCondition")
