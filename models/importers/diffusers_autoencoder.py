"""Configurations and parameters of diffusers' AutoencoderKL as our `AutoencoderKL`, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from models.autoencoder import AutoencoderKL
from models.importers import diffusers_unet
from models.importers.account import Account, to_torch
from models.importers.call_order import MOST_LAYERS, Path, Shapes
from models.sizes import required_divisor
from options.choices import require
from options.errors import InvalidValue

CLASS = "AutoencoderKL"
DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
    "block_out_channels": (64,),
    "layers_per_block": 1,
    "norm_num_groups": 32,
    "mid_block_add_attention": True,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
}
# What a configuration may say, where it says it.
ONLY: dict[str, Any] = {"act_fn": "silu"}
CONVOLVED = ("conv_shortcut", "quant_conv")  # matrices of ours that are 1x1 kernels there
DOWN, UP = {"DownEncoderBlock2D"}, {"UpDecoderBlock2D"}


def network_of(config: Mapping[str, Any]) -> AutoencoderKL:
    """The network of a config.json; InvalidValue for one that ours is not."""
    given = DEFAULTS | dict(config)
    for name, value in ONLY.items():
        got = given.get(name, value)
        if got != value:
            raise InvalidValue(name, got, but=f"ours has {value!r}")
    for name, known in (("down_block_types", DOWN), ("up_block_types", UP)):
        require({*given[name]} == known, name, given[name], f"{known} alone")
    both = given["in_channels"], given["out_channels"]
    require(both[0] == both[1], "out_channels", both[1], f"as many as in_channels, {both[0]}")
    layers, widths = given["layers_per_block"], tuple(given["block_out_channels"])
    small = type(layers) is int and 0 < max(layers, len(widths)) <= MOST_LAYERS
    require(small, "layers_per_block", layers, f"one number, at most {MOST_LAYERS}")
    network = AutoencoderKL(
        channels=both[0],
        latent_channels=given["latent_channels"],
        widths=widths,
        num_res_blocks=layers,
        groups=given["norm_num_groups"],
        attention=bool(given["mid_block_add_attention"]),
        quant=bool(given["use_quant_conv"]),
        post_quant=bool(given["use_post_quant_conv"]),
    )
    side = required_divisor(len(widths))
    network.check(side, side)
    return network


def scaling_of(config: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The means and the standard deviations by which latents are standardised, one for all channels
    or one for each."""
    given = DEFAULTS | dict(config)
    factor = float(given["scaling_factor"])
    require(factor > 0, "scaling_factor", factor, "a positive number")
    shift = float(given["shift_factor"] or 0.0)
    means, stds = (given[name] for name in ("latents_mean", "latents_std"))
    if means is None or stds is None:
        return (shift,), (1 / factor,)
    return tuple(map(float, means)), tuple(float(std) / factor for std in stds)


def config_of(
    network: AutoencoderKL, mean: Sequence[float], std: Sequence[float], size: int
) -> dict[str, Any]:
    """A config.json of the network, of latents standardised so; size: of the images."""
    levels, channels = len(network.widths), network.latent_channels
    mean, std = (np.broadcast_to(values, channels).tolist() for values in (mean, std))
    return {
        "_class_name": CLASS,
        "act_fn": ONLY["act_fn"],
        "in_channels": network.channels,
        "out_channels": network.channels,
        "latent_channels": channels,
        "down_block_types": sorted(DOWN) * levels,
        "up_block_types": sorted(UP) * levels,
        "block_out_channels": list(network.widths),
        "layers_per_block": network.num_res_blocks,
        "norm_num_groups": network.groups,
        "mid_block_add_attention": network.attention,
        "use_quant_conv": network.quant,
        "use_post_quant_conv": network.post_quant,
        "sample_size": size,
        "scaling_factor": 1.0,
        "latents_mean": mean,
        "latents_std": std,
    }


def shapes_of(network: AutoencoderKL) -> Shapes:
    """The parameters of a network by path; nothing is computed."""
    side = required_divisor(len(network.widths))
    x = jnp.zeros((1, side, side, network.channels))
    abstract = jax.eval_shape(lambda: network.init(jax.random.key(0), x))
    return {path: leaf.shape for path, leaf in flatten_dict(abstract["params"]).items()}


def name_of(path: Path, num_levels: int) -> str:
    """What a parameter of ours is called there."""
    part, *inner = path
    if len(inner) == 1:  # a convolution between the parts
        return f"{part}.{diffusers_unet.LEAVES[inner[0]]}"
    return f"{part}.{diffusers_unet.name_of(tuple(inner), num_levels)}"


def params_from_diffusers(
    state_dict: Mapping[str, np.ndarray], network: AutoencoderKL
) -> dict[str, Any]:
    """The parameter tree, float32 numpy; names of attention may be the older ones.

    Raises:
      InvalidValue: names every parameter that is unknown, missing or of another shape.
    """
    theirs = {diffusers_unet.modern(name): array for name, array in state_dict.items()}
    account = Account(shapes_of(network), theirs)
    for path in account.shapes:
        account.fill(path, name_of(path, len(network.widths)))
    return account.params(CLASS)


def state_dict_of(params: Mapping[str, Any], network: AutoencoderKL) -> dict[str, np.ndarray]:
    """The inverse of `params_from_diffusers`."""
    found = {}
    for path, array in flatten_dict(params).items():
        name = name_of(path, len(network.widths))
        is_conv = name.rpartition(".")[0].endswith(CONVOLVED)
        found[name] = to_torch(np.asarray(array), is_conv)
    return found
