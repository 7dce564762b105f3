"""Convolutions and dense layers with the initialisation of the published networks."""

from collections.abc import Sequence

import flax.linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import DTypeLike


def fan_avg_init(scale: float = 1.0) -> Initializer:
    """Uniform with variance scale / ((fan_in + fan_out) / 2).

    A scale of 0, which would stop every gradient behind it, means 1e-10 (Ho et al. 2020).
    """
    return nn.initializers.variance_scaling(scale or 1e-10, "fan_avg", "uniform")


def conv(
    width: int,
    size: int = 3,
    *,
    stride: int = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    init_scale: float = 1.0,
    dtype: DTypeLike = "float32",
    name: str | None = None,
) -> nn.Conv:
    """A size x size convolution to `width` channels; parameters float32, computed in `dtype`."""
    return nn.Conv(
        width,
        (size, size),
        strides=stride,
        padding=padding,
        kernel_init=fan_avg_init(init_scale),
        dtype=dtype,
        name=name,
    )


def dense(
    width: int,
    *,
    init_scale: float = 1.0,
    dtype: DTypeLike = "float32",
    name: str | None = None,
) -> nn.Dense:
    """A dense layer over channels; on a picture it is a 1x1 convolution."""
    return nn.Dense(width, kernel_init=fan_avg_init(init_scale), dtype=dtype, name=name)
