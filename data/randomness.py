"""Random numbers that belong to a place in the data stream.

Row p of a stream of draws is a function of (seed, purpose, p) and of nothing else: not of the
batch it is read in, nor of the host or thread that reads it. Philox (Salmon et al. 2011) encrypts
a counter under a key, so any stretch of positions is read at once, at the speed of one draw.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Float32, Int

# One Philox counter yields four 64-bit words, or eight float32 draws.
DRAWS_PER_COUNTER = 8


class Purpose(IntEnum):
    """What a stream is for: streams of different purposes are independent."""

    CROP = 0
    FLIP = 1
    AUGMENT = 2
    DEQUANTIZE = 3
    POSTERIOR = 4


def uniforms(
    seed: int, purpose: Purpose, positions: range, draws: int
) -> Float32[np.ndarray, "b draws"]:
    """`draws` numbers in [0, 1) for each of the consecutive `positions`; 0 <= seed < 2**64.

    The same `draws` must be asked for at every position of a stream.
    """
    counters = -(-draws // DRAWS_PER_COUNTER)
    key = np.array([seed, purpose], np.uint64)
    bits = np.random.Philox(key=key, counter=positions.start * counters)
    shape = (len(positions), counters * DRAWS_PER_COUNTER)
    return np.random.Generator(bits).random(shape, np.float32)[:, :draws]


def permutation(seed: int, epoch: int, count: int) -> Int[np.ndarray, "count"]:
    """The order of `count` examples in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(count)
