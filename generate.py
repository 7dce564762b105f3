"""Pictures from a predictor: sampling in batches, in the range of uint8."""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from tqdm import tqdm

import pictures
from data.range import Range
from parameterization import Predictor
from sampling import Samples, Solver, sample
from sde_lib import Node, Process


class Generated(NamedTuple):
    """Samples on the host.

    Attributes:
      images: uint8 (n, height, width, channels).
      labels: the class asked for, int32 (n,); -1 where none was.
      nfe: mean number of network evaluations of a sample.
      ok: whether each sample is finite, bool (n,).
    """

    images: np.ndarray
    labels: np.ndarray
    nfe: float
    ok: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """How a model is sampled: everything but its parameters and the key.

    Sample i depends on the key, on i and on its label, not on the size of the batch it is drawn in.
    """

    process: Process
    solver: Solver
    grid: Node
    image_shape: tuple[int, int, int]
    value_range: Range
    num_classes: int = 0
    denoise: str = "tweedie"
    batch_size: int = 64

    def labels(self, count: int) -> np.ndarray:
        """The classes in turn, 0, 1, ..., int32 (count,); -1 throughout without classes."""
        if not self.num_classes:
            return np.full(count, -1, np.int32)
        return np.arange(count, dtype=np.int32) % self.num_classes

    def batch(
        self,
        predict: Predictor,
        key: Key[Array, ""],
        labels: np.ndarray,
        *,
        first_index: int = 0,
        frames: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Samples:
        """One batch of samples, one for each label, in the process's range."""
        return sample(
            key,
            self.process,
            predict,
            self.solver,
            self.grid,
            (len(labels), *self.image_shape),
            cond={"labels": jnp.asarray(labels)} if self.num_classes else {},
            denoise=self.denoise,
            first_index=first_index,
            frames=frames,
            progress=progress,
        )

    def images(
        self,
        predict: Predictor,
        key: Key[Array, ""],
        labels: np.ndarray,
        *,
        first_index: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Generated:
        """A sample for each label, in batches of `batch_size`.

        Args:
          labels: int32 (n,), see `labels`. first_index: the index of the first sample.
          progress: called as progress(steps done, steps in all), over all batches.
        """
        count, size = len(labels), min(self.batch_size, len(labels))
        batches = math.ceil(count / size)
        found: list[tuple[np.ndarray, ...]] = []
        for number in range(batches):
            # The last batch is filled up with samples that are then dropped: one program serves
            # all.
            chosen = np.resize(labels[number * size :], size)
            report = _offset(progress, number, batches) if progress else None
            start = first_index + number * size
            samples = self.batch(predict, key, chosen, first_index=start, progress=report)
            images = self.value_range.to_uint8(np.nan_to_num(np.asarray(samples.x)))
            found.append((images, np.asarray(samples.nfe), np.asarray(samples.ok)))
        images, nfe, ok = (np.concatenate(parts)[:count] for parts in zip(*found, strict=True))
        return Generated(images, labels, float(nfe.mean()), ok)

    def path(
        self, predict: Predictor, key: Key[Array, ""], labels: np.ndarray, frames: int = 10
    ) -> np.ndarray:
        """The way from noise to samples, uint8 (n, frames, height, width, channels).

        Each frame is scaled by its own noise level, alpha^2 + sigma^2, so that it can be seen.
        """
        steps = len(self.grid.t) - 1
        frames = min(frames, steps + 1)
        samples = self.batch(predict, key, labels, frames=frames)
        assert samples.path is not None
        at = np.linspace(0, steps, frames, dtype=int)
        centre, half = self.value_range.from_unit(0.5), self.value_range.width / 2
        sigma = np.asarray(self.grid.sigma)[at[:-1], None, None, None, None]
        shrink = np.append(half / np.maximum(half, 2 * sigma).ravel(), 1.0)
        shown = centre + (samples.path - centre) * shrink[:, None, None, None, None]
        return np.swapaxes(self.value_range.to_uint8(shown), 0, 1)

    def picture(self, predict: Predictor, key: Key[Array, ""], count: int) -> np.ndarray:
        """A grid of samples, by class where there are classes, uint8 (height, width, channels)."""
        columns = self.num_classes or None
        if columns:
            count = max(1, count // columns) * columns
        images = self.images(predict, key, self.labels(count)).images
        return pictures.grid(images, columns)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawSamples:
    """What the training loop draws at intervals: a grid of samples."""

    generator: Generator
    count: int

    def __call__(self, predict: Predictor, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        return {"samples": self.generator.picture(predict, key, self.count)}


def _offset(
    progress: Callable[[int, int], None], number: int, batches: int
) -> Callable[[int, int], None]:
    """`progress` of one batch among several."""
    return lambda done, steps: progress(number * steps + done, batches * steps)


def bar_updater(bar: tqdm) -> Callable[[int, int], None]:
    """A progress callback that moves a tqdm bar."""

    def update(done: int, steps: int) -> None:
        bar.total = steps
        bar.update(done - bar.n)

    return update
