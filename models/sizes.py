"""What a U-Net's options and the size of its images must fulfil, checked before compiling.

Every function raises an InvalidValue that names the field at fault.
"""

from typing import Any

import flax.linen as nn
from jaxtyping import Array

from options.choices import MOST_COUNT, require
from options.errors import InvalidValue, Words


def check_kernel(kernel: tuple[float, ...]) -> None:
    holds = len(kernel) >= 2 and sum(kernel) > 0
    require(holds, "fir_kernel", kernel, "2 or more taps of a positive sum")


def check_channels(network: nn.Module, layer: str, x: Array) -> None:
    """InvalidValue where a trained network is given other channels than it was made for: channels
    first, as other libraries have them, above all. layer: the first one; x: its input."""
    if network.is_initializing() or not network.has_variable("params", layer):
        return
    expected: int = network.get_variable("params", layer)["kernel"].shape[-2]
    if x.shape[-1] != expected:
        axes = "batch, height, width, channels" if x.ndim == 4 else "batch, ..., channels"
        got = Words(f"{x.shape[-1]} channels in {x.shape}")
        raise InvalidValue("x", got, f"{expected}, in the last axis: ({axes})")


def required_divisor(num_levels: int, patch_size: int = 1) -> int:
    """What height and width must be multiples of: the patch, halved at all levels but the last."""
    return patch_size * 2 ** (num_levels - 1)


def check_divisor(options: Any, height: int, width: int, divisor: int, patch_size: int) -> None:
    """The sides of the images must be multiples of the divisor, which follows from `ch_mult`."""
    if height % divisor or width % divisor:
        raise InvalidValue(
            "ch_mult",
            Words(f"{len(options.ch_mult)} levels with patches of {patch_size}"),
            but=f"they need images whose sides are multiples of {divisor}, not {height} x {width}",
        )


def check_grid(options: Any, height: int, width: int, patch_size: int = 1) -> None:
    """`options` has ch_mult and attn_resolutions, which are heights."""
    num_levels = len(options.ch_mult)
    if num_levels == 0 or not all(1 <= m <= MOST_COUNT and m == int(m) for m in options.ch_mult):
        raise InvalidValue("ch_mult", options.ch_mult, "one or more numbers from 1 on")
    check_divisor(options, height, width, required_divisor(num_levels, patch_size), patch_size)
    heights = [height // (patch_size * 2**level) for level in range(num_levels)]
    missing = [r for r in options.attn_resolutions if r not in heights]
    if missing:
        raise InvalidValue(
            "attn_resolutions", missing[0], but=f"the heights of the levels are {heights}"
        )
