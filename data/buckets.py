"""Batches of examples of like length, so that short ones are not padded as far as the longest.

With B the batch size and W the WINDOW, the examples at positions [w W B, (w + 1) W B) of a stream
are the batches of window w:

    1. they are sorted by length;
    2. each B of them are a batch;
    3. the batches come in an order drawn from (seed, w);
    4. a batch is padded to the first of `lengths` that is long enough for its longest example.

So each epoch visits every example once, a batch is a function of the seed, its position and B, and
on several hosts the parts of a batch are of one length. A stream that is continued with another B
has other windows: of the first one some examples may come twice, and others not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from data.randomness import permutation
from data.source import Records
from options.choices import require

WINDOW = 32  # batches


@dataclass(frozen=True, eq=False)
class Buckets:
    """How examples are gathered into batches.

    Attributes:
      sizes: the length of every example, by its number.
      lengths: to which batches are padded, ascending; the last is that of the source.
      axis: of a batch, along the length.
    """

    sizes: Int[np.ndarray, "n"]
    lengths: tuple[int, ...]
    axis: int

    def __post_init__(self) -> None:
        ascends = all(a < b for a, b in zip(self.lengths, self.lengths[1:], strict=False))
        expected = f"ascending numbers from 1 on, below {self.lengths[-1]}, the longest"
        require(ascends and self.lengths[0] > 0, "buckets", self.lengths[:-1], expected)

    def batch(self, window: Int[np.ndarray, "m"], seed: int, number: int) -> np.ndarray:
        """The examples of a batch, by their numbers.

        window: those of the window, in the order of the stream. number: of the batch in the stream.
        """
        by_size = window[np.argsort(self.sizes[window], kind="stable")]
        which = permutation(seed, number // WINDOW, WINDOW)[number % WINDOW]
        return by_size.reshape(WINDOW, -1)[which]

    def length(self, batch: Int[np.ndarray, "b"]) -> int:
        """To which a batch is padded."""
        longest = self.sizes[batch].max()
        return next(length for length in self.lengths if length >= longest)

    def cut(self, records: Records, length: int) -> Records:
        """Records whose padding ends there."""

        def part(array: Any) -> np.ndarray:
            return array.take(range(length), axis=self.axis)

        return records | {"image": part(records["image"]), "mask": part(records["mask"])}
