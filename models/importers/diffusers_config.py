"""Configurations of diffusers' UNet2DModel as our NCSN++ and DDPM, and back.

NCSN++ is that with skips to images at both sides. What differs between the two networks is one row
of `FAMILIES`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from models.importers.call_order import MOST_LAYERS
from options.choices import require
from options.errors import InvalidValue, Words

# The defaults of its constructor, where a configuration does not say.
DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "mid_block_type": "UNetMidBlock2D",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "layers_per_block": 2,
}
COMMON: dict[str, Any] = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "norm_eps": 1e-6,
    "time_embedding_dim": None,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "resnet_time_scale_shift": "default",
    "mid_block_type": "UNetMidBlock2D",
    "attn_norm_num_groups": None,
    "class_embed_type": None,
    "num_class_embeds": None,
    "add_attention": True,
}


@dataclasses.dataclass(frozen=True)
class Family:
    """One of our networks as a UNet2DModel.

    Attributes:
      model: its name in `models.MODELS`.
      down, up: types of its blocks, without attention and with it.
      only: what a configuration has to say, beside COMMON.
      fields: of ours, for all of them.
      needs: of our fields, those that have one value there.
    """

    model: str
    down: tuple[str, str]
    up: tuple[str, str]
    only: Mapping[str, Any]
    fields: Mapping[str, Any]
    needs: Mapping[str, Any]


FAMILIES = (
    Family(
        "ncsnpp",
        ("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        ("SkipUpBlock2D", "AttnSkipUpBlock2D"),
        {
            "time_embedding_type": "fourier",
            "norm_num_groups": None,
            "mid_block_scale_factor": 1.41421356237,
            "downsample_padding": 1,
        },
        {
            "fir": True,
            "fir_kernel": (1.0, 3.0, 3.0, 1.0),
            "skip_rescale": True,
            "resblock_type": "biggan",
            "progressive": "output_skip",
            "progressive_input": "input_skip",
            "progressive_combine": "sum",
            "embedding_type": "fourier",
            "conv_size": 3,
            "patch_size": 1,
        },
        {"conditional": True, "nonlinearity": "swish"},
    ),
    Family(
        "ddpm",
        ("DownBlock2D", "AttnDownBlock2D"),
        ("UpBlock2D", "AttnUpBlock2D"),
        {
            "time_embedding_type": "positional",
            "norm_num_groups": 32,
            "mid_block_scale_factor": 1,
            "downsample_padding": 0,
            "flip_sin_to_cos": False,
            "freq_shift": 1,
            "center_input_sample": False,
        },
        {"attention_in_up": "block", "resamp_with_conv": True},
        {"conditional": True, "nonlinearity": "swish"},
    ),
)


def fields_of(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Our network, by name, and its fields for the configuration of a UNet2DModel, config.json.

    Raises:
      InvalidValue: the field of theirs that ours has nothing for.
    """
    given = DEFAULTS | dict(config)
    down, up = tuple(given["down_block_types"]), tuple(given["up_block_types"])
    families = [f for f in FAMILIES if {*down} <= {*f.down} and {*up} <= {*f.up}]
    expected = " or ".join(f"{f.down[0]}, {f.down[1]}" for f in FAMILIES)
    require(families, "down_block_types", down, expected)
    (family,) = families
    for name, value in (COMMON | dict(family.only)).items():
        got = given[name]
        alike = got == value or (type(got) is float and abs(got - value) < 1e-9)
        but = f"ours, {family.model}, has {value!r}"
        if not alike:
            raise InvalidValue(name, got, but=but)
    both = given["in_channels"], given["out_channels"]
    require(both[0] == both[1], "out_channels", both[1], f"as many as in_channels, {both[0]}")
    attending = [kind == family.down[1] for kind in down]
    mirrored = [kind == family.up[1] for kind in reversed(up)]
    require(attending == mirrored, "up_block_types", up, "attention at the levels of the way down")
    sizes = given["layers_per_block"], len(down)
    require(0 < max(sizes) <= MOST_LAYERS, "layers_per_block", sizes[0], f"at most {MOST_LAYERS}")
    widths, size = list(given["block_out_channels"]), given.get("sample_size")
    height: Any = size[0] if type(size) is list else size
    require(type(height) is int, "sample_size", size, "the height of the images")
    require(len(widths) == len(down), "block_out_channels", widths, f"{len(down)} widths")
    whole = all(width % widths[0] == 0 for width in widths)
    require(whole, "block_out_channels", widths, f"multiples of the first, {widths[0]}")
    fields = {
        "nf": widths[0],
        "ch_mult": tuple(width // widths[0] for width in widths),
        "num_res_blocks": given["layers_per_block"],
        "attn_resolutions": tuple(height >> i for i, attends in enumerate(attending) if attends),
        "dropout": float(given["dropout"] or 0.0),
    }
    return family.model, fields | dict(family.fields)


def groups_that_differ(model: Any, height: int) -> list[str]:
    """Layers whose group normalisation diffusers computes in other groups: its blocks with skips
    and attention have 32, whatever their width, or a number that a slip of precedence makes."""
    if getattr(model, "progressive_input", None) not in SKIPS:
        return []
    widths = [model.nf * multiple for multiple in model.ch_mult]
    skips = [model.nf]
    for level, width in enumerate(widths):
        skips += [width] * (model.num_res_blocks + (level < len(widths) - 1))
    found, h = [], widths[-1]
    for level, width in reversed(list(enumerate(widths))):
        attends = height >> level in model.attn_resolutions
        if attends and width < 128:
            found.append(f"attention at level {level} ({width} channels)")
        for unit in range(model.num_res_blocks + 1):
            skip = skips.pop()
            if attends and min((h + skip) // 4, 32) != min(h + skip // 4, 32):
                found.append(f"up_{level}/unit_{unit} ({h + skip} channels)")
            h = width
    return found


SKIPS = {"input_skip"}


def config_of(
    model: nn.Module, name: str, shape: tuple[int, ...], centre_input: bool
) -> dict[str, Any]:
    """The configuration of the UNet2DModel that is this network, of images of this shape.

    Raises:
      InvalidValue: the field of ours that diffusers has nothing for.
    """
    network: Any = model
    families = [family for family in FAMILIES if family.model == name]
    require(families, "model", name, f"one of {[family.model for family in FAMILIES]}")
    (family,) = families
    for field, value in (dict(family.fields) | dict(family.needs)).items():
        got = getattr(network, field)
        if got != value:
            but = f"UNet2DModel has only {field}={value!r}"
            raise InvalidValue(f"model.{field}", got, but=but)
    height, width, channels = shape
    names = [condition.name for condition in network.conditions]
    require(not names, "conditions", names, "none: UNet2DModel has nothing that is these")
    heights = [height >> level for level in range(len(network.ch_mult))]
    attends = [h in network.attn_resolutions for h in heights]
    widths = [network.nf * multiple for multiple in network.ch_mult]
    _require_groups(family, network, height, widths)
    config = DEFAULTS | COMMON | dict(family.only)
    return config | {
        "_class_name": "UNet2DModel",
        "sample_size": height if height == width else [height, width],
        "in_channels": channels,
        "out_channels": network.out_channels or channels,
        "center_input_sample": centre_input,
        "down_block_types": [family.down[a] for a in attends],
        "up_block_types": [family.up[a] for a in reversed(attends)],
        "block_out_channels": widths,
        "layers_per_block": network.num_res_blocks,
        "dropout": network.dropout,
    }


def _require_groups(family: Family, model: Any, height: int, widths: list[int]) -> None:
    """InvalidValue where diffusers would normalise in other groups."""
    if family.only["norm_num_groups"] is None:
        differ = groups_that_differ(model, height)
        got = Words(", ".join(differ))
        require(not differ, "model.nf", got, "128 channels or more, as diffusers has 32 groups")
    else:
        odd = [width for width in widths if width % 32]
        require(not odd, "model.nf", odd, "multiples of 32, as diffusers has 32 groups")
