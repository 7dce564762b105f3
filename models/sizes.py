"""What a U-Net's options and the size of its pictures must fulfil, checked before compiling.

Every function raises a ValueError that begins with the name of the field at fault.
"""

from typing import Any


def check_choice(options: Any, field: str, choices: tuple[str, ...]) -> None:
    value = getattr(options, field)
    if value not in choices:
        raise ValueError(f"{field}: got {value!r}, expected one of {list(choices)}")


def check_positive(options: Any, *fields: str) -> None:
    for field in fields:
        value = getattr(options, field)
        if value < 1:
            raise ValueError(f"{field}: got {value}, expected 1 or more")


def check_kernel(kernel: tuple[float, ...]) -> None:
    if len(kernel) < 2 or sum(kernel) <= 0:
        raise ValueError(f"fir_kernel: got {kernel}, expected 2 or more taps of a positive sum")


def check_share(options: Any, field: str) -> None:
    if not 0 <= getattr(options, field) < 1:
        raise ValueError(f"{field}: got {getattr(options, field)}, expected a number in [0, 1)")


def required_divisor(num_levels: int, patch_size: int = 1) -> int:
    """What height and width must be multiples of: the patch, halved at all levels but the last."""
    return patch_size * 2 ** (num_levels - 1)


def check_grid(options: Any, height: int, width: int, patch_size: int = 1) -> None:
    """`options` has ch_mult, attn_resolutions and nf."""
    num_levels = len(options.ch_mult)
    if num_levels == 0 or not all(isinstance(m, int) and m >= 1 for m in options.ch_mult):
        raise ValueError(f"ch_mult: got {options.ch_mult}, expected one or more numbers from 1 on")
    divisor = required_divisor(num_levels, patch_size)
    if height % divisor or width % divisor:
        raise ValueError(
            f"ch_mult: got {num_levels} levels with patches of {patch_size}, which need pictures "
            f"whose sides are multiples of {divisor}, not {height} x {width}"
        )
    resolutions = [height // (patch_size * 2**level) for level in range(num_levels)]
    missing = [r for r in options.attn_resolutions if r not in resolutions]
    if missing:
        raise ValueError(
            f"attn_resolutions: got {missing[0]}, which never occurs: the levels have resolutions "
            f"{resolutions}"
        )
