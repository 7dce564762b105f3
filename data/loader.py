"""Batches in a fixed order, prepared in the background.

The stream. Positions p = 0, 1, 2, ... run through the data set again and again: with n examples,
epoch p // n visits each example once, in an order drawn from (seed, epoch). The position decides
which example is read and every random choice about it, so a stream continued at p is the stream.

    step s reads positions [s B, (s + 1) B), B the global batch size                (1)
    host h of H reads its contiguous block [s B + h B/H, s B + (h + 1) B/H)         (2)

so that the hosts' batches, put side by side in the order of hosts, are the batch of one host. With
`data.buckets` the order is another, by the lengths of examples.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool

from data.buckets import WINDOW, Buckets
from data.randomness import permutation
from data.source import Source
from data.transforms import Batch, Transform
from options.choices import require, require_at_least_one
from options.errors import InvalidValue, Words
from options.project import extra

logger = logging.getLogger(__name__)
THREADS = min(8, os.cpu_count() or 1)
# A stream has no end; grain wants a length.
ENDLESS = 2**62
_permutation = lru_cache(maxsize=4)(permutation)


class EvalBatch(Batch):
    """A batch whose last examples may be there only to fill it: those have counts False."""

    counts: Bool[np.ndarray, "b"]


@dataclass(frozen=True)
class HostPart:
    """What one host reads of every global batch, equation (2)."""

    batch_size: int
    host: int = 0
    num_hosts: int = 1

    def __post_init__(self) -> None:
        require_at_least_one(self, "batch_size")
        host = Words(f"{self.host} of {self.num_hosts}")
        require(0 <= self.host < self.num_hosts, "host", host, "0 <= host < hosts")
        divides = self.batch_size % self.num_hosts == 0
        expected = f"a multiple of {self.num_hosts} hosts"
        require(divides, "batch_size", self.batch_size, expected)

    def of(self, position: int) -> range:
        """This host's positions in the global batch that begins at `position`."""
        count = self.batch_size // self.num_hosts
        return range(position + self.host * count, position + (self.host + 1) * count)


class Loader:
    """An endless iterator of this host's training batches, equations (1) and (2).

    source, transform: what is read, and what is made of it.
    batch_size: the global one, B; a batch has B / num_hosts examples.
    seed: of the order and of every random choice, 0 <= seed < 2**64.
    shuffle: False keeps the order of the source in every epoch.
    threads, prefetch: how many threads prepare up to how many batches ahead of the one in use.
    buckets: gather examples of like length, so that batches differ in shape; None for no such.

    An error in the background (a file that became unreadable) is raised by `next`.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        transform: Transform | None = None,
        *,
        seed: int = 0,
        shuffle: bool = True,
        host: int = 0,
        num_hosts: int = 1,
        threads: int = THREADS,
        prefetch: int = 8,
        buckets: Buckets | None = None,
    ) -> None:
        require(0 <= seed < 2**64, "seed", seed, "0 <= seed < 2**64")
        self.source = source
        self.transform = transform or Transform()
        self.transform.check(source)
        if lost := self.transform.loss_of_cropping(source):
            logger.warning(lost)
        self.part = HostPart(batch_size, host, num_hosts)
        self.seed = seed
        self.shuffle = shuffle
        self._threads, self._prefetch = threads, prefetch
        self._buckets = buckets
        self._seek(0)

    def __iter__(self) -> "Loader":
        return self

    def __next__(self) -> Batch:
        batch = next(self._batches)
        self._position += self.part.batch_size
        return batch

    def batch_at(self, position: int) -> Batch:
        """This host's part of the global batch that begins at `position`: a pure function."""
        positions = self.part.of(position)
        if self._buckets is None:
            return self.transform(self.source.take(self._indices(positions)), positions, self.seed)
        size = self.part.batch_size
        number = position // size
        first = number // WINDOW * WINDOW * size
        window = self._indices(range(first, first + WINDOW * size))
        batch = self._buckets.batch(window, self.seed, number)
        own = batch[positions.start - position : positions.stop - position]
        records = self._buckets.cut(self.source.take(own), self._buckets.length(batch))
        return self.transform(records, positions, self.seed)

    def state(self) -> dict[str, Any]:
        """Where the stream stands, for JSON; the same on every host."""
        return {"position": self._position, **self._identity()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()`, if need be with another batch size or number of hosts.

        InvalidValue where the state is of another stream.
        """
        for key, value in self._identity().items():
            if state[key] != value:
                but = (
                    f"the run was saved with {key} {state[key]!r}, {self.source.name} has {value!r}"
                )
                raise InvalidValue("data", but=but)
        self._seek(state["position"])

    def _identity(self) -> dict[str, Any]:
        return {"examples": len(self.source), "seed": self.seed, "shuffle": self.shuffle}

    def _seek(self, position: int) -> None:
        self._position = position
        size = self.part.batch_size
        steps = _Steps(lambda step: self.batch_at(position + step * size), ENDLESS)
        self._batches = _prefetched(steps, self._threads, self._prefetch)

    def _indices(self, positions: range) -> np.ndarray:
        count = len(self.source)
        epochs, within = np.divmod(np.arange(positions.start, positions.stop), count)
        if not self.shuffle:
            return within
        indices = np.empty_like(within)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            indices[here] = _permutation(self.seed, int(epoch), count)[within[here]]
        return indices


def eval_batches(
    source: Source,
    batch_size: int,
    transform: Transform | None = None,
    *,
    seed: int = 0,
    start: int = 0,
    host: int = 0,
    num_hosts: int = 1,
    threads: int = THREADS,
) -> Iterator[EvalBatch]:
    """This host's part of ceil(n / batch_size) global batches that hold each example once.

    Examples come in the order of the source, by `transform.for_evaluation()`; dequantisation noise
    is a function of (seed, index). The last batch is filled up with the last example, counts False.
    `start` is the global batch to begin with.
    """
    transform = (transform or Transform()).for_evaluation()
    transform.check(source)
    part = HostPart(batch_size, host, num_hosts)
    count = len(source)
    steps = -(-count // batch_size)
    require(0 <= start <= steps, "start", start, f"0 <= start <= {steps} batches")

    def read(step: int) -> EvalBatch:
        positions = part.of((start + step) * batch_size)
        indices = np.arange(positions.start, positions.stop)
        records = source.take(np.minimum(indices, count - 1))
        return EvalBatch(**transform(records, positions, seed), counts=indices < count)

    return _prefetched(_Steps(read, steps - start), threads, prefetch=threads)


@dataclass(frozen=True)
class _Steps:
    """`read(0), ..., read(count - 1)`, as grain takes them."""

    read: Callable[[int], Any]
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, step: int) -> Any:
        return self.read(step)


def _prefetched(steps: _Steps, threads: int, prefetch: int) -> Iterator[Any]:
    """The steps in order, up to `prefetch` of them computed ahead by a pool of threads."""
    # Imported here, since only training needs it.
    with extra("train"):
        import grain

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.source(steps).to_iter_dataset(options))
