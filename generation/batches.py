"""Samples in batches: how many are drawn at once, and which."""

import math
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import Int

from options.memory import fitting

FIELD = "sampling.batch_size"
# Samples drawn at once where more would fit: by then they take no less time each.
MOST, MOST_ELSEWHERE = {"cpu": 64}, 512


def at_once(size: int | None, lower: Callable[[int], jax.stages.Lowered], count: int) -> int:
    """How many of `count` samples are drawn at once, over all devices of the host.

    A batch that fits at once costs nothing: its program is the one that is run.

    Args:
      size: how many are asked for; None for the most that fit, up to MOST.
      lower: a batch of one device -> the program that draws it.

    Returns:
      As many for each device. OutOfMemory of `sampling.batch_size` where not even one fits.
    """
    devices = jax.local_device_count()
    most = min(count, size or MOST.get(jax.default_backend(), MOST_ELSEWHERE))
    on_each = math.ceil(most / devices)
    return devices * (on_each if size else fitting(None, lower, on_each, FIELD)(on_each))


def batches(count: int, size: int) -> Iterator[Int[np.ndarray, " size"]]:
    """The numbers of `count` samples, `size` at a time. The last batch is filled up with samples
    that are to be dropped: one program serves all."""
    for first in range(0, count, size):
        yield np.resize(np.arange(first, count), size)
