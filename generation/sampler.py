"""Pictures from a predictor: sampling in batches, in the range of uint8."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from tqdm import tqdm

from controllable.super_resolution import LowResolution
from data.space import Pixels
from data.source import Source
from parameterization import Predictor
from sampling import Pacer, Solver, keys_for, sample
from sde_lib import Node, Process
from storage import pictures

LOW_SEED = 0  # of the noise on low-resolution pictures


class Generated(NamedTuple):
    """Samples on the host.

    Attributes:
      images: uint8 (n, height, width, channels).
      labels: the class asked for, int32 (n,); -1 where none was.
      nfe: mean number of network evaluations of a sample.
      ok: whether each sample reached the end of the grid, bool (n,).
      path: the way of the first batch from noise to samples, uint8 (b, frames, height, width,
        channels), each frame scaled by its own noise level so that it can be seen; None unless
        asked for.
    """

    images: np.ndarray
    labels: np.ndarray
    nfe: float
    ok: np.ndarray
    path: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutLow:
    """What an upsampler is told of its samples: low-resolution pictures of images of their classes.

    Attributes:
      read: the source of the images, read when it is first needed.
      prepare: an image of the source, at the model's size.
      level: of the noise on the pictures, see `super_resolution`.
    """

    read: Callable[[], Source]
    prepare: Callable[[np.ndarray], np.ndarray]
    low: LowResolution
    value_range: Pixels
    level: float

    @functools.cached_property
    def _source(self) -> Source:
        return self.read()

    @functools.cached_property
    def _labels(self) -> np.ndarray:
        source = self._source
        return np.array([source[i]["label"] for i in range(len(source))], np.int32)

    def images(self, labels: np.ndarray, first_index: int) -> np.ndarray:
        """An image for each label, -1 for any, uint8: that of sample i depends on i alone."""
        found = []
        for i, label in enumerate(labels, first_index):
            of_class = np.flatnonzero(self._labels == label)
            choice = of_class if len(of_class) else np.arange(len(self._labels))
            index = choice[np.random.default_rng(i).integers(len(choice))]
            found.append(self.prepare(self._source[int(index)]["image"]))
        return np.stack(found)

    def __call__(self, labels: np.ndarray, first_index: int) -> dict[str, Array]:
        x = jnp.asarray(self.value_range.from_uint8(self.images(labels, first_index)))
        keys = keys_for(jax.random.key(LOW_SEED), len(labels), first_index)
        return self.low.noised(self.low.of(x), jnp.full(len(labels), self.level), keys)


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """How a model is sampled: everything but its parameters and the key.

    Sample i depends on the key, on i and on its label, not on the size of the batch it is drawn in.

    Attributes:
      told: the pictures that an upsampler enlarges; None for other models.
    """

    process: Process
    solver: Solver | Pacer
    grid: Node
    image_shape: tuple[int, int, int]
    value_range: Pixels
    num_classes: int = 0
    denoise: str = "tweedie"
    batch_size: int = 64
    told: HeldOutLow | None = None

    def labels(self, count: int) -> np.ndarray:
        """The classes in turn, 0, 1, ..., int32 (count,); -1 throughout without classes."""
        if not self.num_classes:
            return np.full(count, -1, np.int32)
        return np.arange(count, dtype=np.int32) % self.num_classes

    def images(
        self,
        predict: Predictor,
        key: Key[Array, ""],
        labels: np.ndarray,
        *,
        first_index: int = 0,
        frames: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Generated:
        """A sample for each label, in batches of `batch_size`.

        Args:
          labels: int32 (n,), see `labels`. first_index: the index of the first sample.
          frames: length of the first batch's path, 0 for none.
          progress: called as progress(steps done, steps in all), over all batches.
        """
        count, size = len(labels), min(self.batch_size, len(labels))
        frames = min(frames, len(self.grid.t))
        batches = math.ceil(count / size)
        found: list[tuple[np.ndarray, ...]] = []
        path = None
        for number in range(batches):
            # The last batch is filled up with samples that are dropped: one program serves all.
            chosen = np.resize(labels[number * size :], size)
            first = first_index + number * size
            cond = {"labels": jnp.asarray(chosen)} if self.num_classes else {}
            if self.told is not None:
                cond |= self.told(chosen, first)
            samples = sample(
                key,
                self.process,
                predict,
                self.solver,
                self.grid,
                (size, *self.image_shape),
                cond=cond,
                denoise=self.denoise,
                first_index=first,
                frames=0 if number else frames,
                progress=_offset(progress, number, batches) if progress else None,
            )
            images = self.value_range.to_uint8(np.asarray(samples.x))
            found.append((images, np.asarray(samples.nfe), np.asarray(samples.ok)))
            if samples.path is not None:
                path = self._shown(samples.path)
        images, nfe, ok = (np.concatenate(parts)[:count] for parts in zip(*found, strict=True))
        return Generated(images, labels, float(nfe.mean()), ok, path)

    def _shown(self, path: np.ndarray) -> np.ndarray:
        """Frames (frames, b, ...) as uint8 (b, frames, ...), the noisy ones shrunk to the range."""
        at = np.linspace(0, len(self.grid.t) - 1, len(path), dtype=int)
        centre, half = self.value_range.from_unit(0.5), self.value_range.width / 2
        shrink = half / np.maximum(half, 2 * np.asarray(self.grid.sigma)[at])
        shrink[-1] = 1.0
        shown = centre + (path - centre) * shrink[:, None, None, None, None]
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
    """What the training loop draws at intervals: a grid of samples, (h, w) if grey or (h, w, 3)."""

    generator: Generator
    count: int

    def __call__(self, predict: Predictor, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        picture = self.generator.picture(predict, key, self.count)
        return {"samples": picture[..., 0] if picture.shape[-1] == 1 else picture}


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
