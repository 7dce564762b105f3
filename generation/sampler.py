"""Drawing from a model in batches: samples in the terms of the data, whatever the space."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt8

from data.source import Source
from data.space import Space
from generation.batches import FIELD, at_once, batches
from options.brief import brief
from options.memory import lowering
from options.progress import Progress, bar_updater, part_of, progress_bar
from parameterization import MASK, Predictor
from sampling import keys_for
from solvers.sampler import Sampler
from storage import pictures
from tasks.conditions import LowResolution

LOW_SEED = 0  # of the noise on low-resolution images
PATHS = 10  # that a picture of them shows


class Generated(NamedTuple):
    """Samples on the host.

    Attributes:
      data: in the terms of the data: images uint8 (n, height, width, channels); other spaces as
        their `decode` gives them.
      labels: the class asked for, int32 (n,); -1 where none was.
      nfe: mean number of network evaluations of a sample.
      ok: whether each sample reached the end of the grid, bool (n,).
      path: of images, the way of the first batch from noise to samples, uint8 (b, frames, height,
        width, channels), each frame scaled by its own noise level so that it can be seen; None
        unless asked for.
      times: of the frames, (frames,).
      mask: of padded data, which coordinates are real, bool (n, ...); None for others.
      class_names: in the order of their numbers, as far as they are known.
      texts: the caption of each; empty for a model without.
    """

    data: np.ndarray
    labels: np.ndarray
    nfe: float
    ok: np.ndarray
    path: np.ndarray | None = None
    times: np.ndarray | None = None
    mask: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return brief(self)

    @property
    def picture(self) -> UInt8[np.ndarray, "h w c"]:
        """The samples, of images, by caption or by class."""
        return pictures.drawn(*pictures.by_class(self.data, *self._rows()))

    def _rows(self) -> tuple[np.ndarray, Sequence[str]]:
        """The row of each sample in a picture, and what the rows are called."""
        if not self.texts:
            return self.labels, self.class_names
        names = list(dict.fromkeys(self.texts))
        number = {text: i for i, text in enumerate(names)}
        return np.array([number[text] for text in self.texts]), names

    @property
    def path_picture(self) -> UInt8[np.ndarray, "h w c"]:
        """The path of the first samples, a row each."""
        assert self.path is not None and self.times is not None
        titles = [f"t = {t:.2g}" for t in self.times[:-1]] + ["sample"]
        shown, (labels, called) = self.path[:PATHS], self._rows()
        names = [pictures.name_of(int(label), called) for label in labels[:PATHS]]
        return pictures.drawn(pictures.Panel(shown, titles, names if any(names) else ()))

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file of samples holds."""
        nfe = np.array(self.nfe, np.float32)
        found = {"images": self.data, "labels": self.labels, "nfe": nfe, "ok": self.ok}
        found |= {"texts": np.array(self.texts)} if self.texts else {}
        return found if self.mask is None else found | {"mask": self.mask}


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutLow:
    """What an upsampler enlarges: held-out images of the classes asked for, made smaller.

    Attributes:
      read: the source of the images, read when it is first needed.
      prepare: an image of the source, at the model's size.
      level: of the noise on the low-resolution images, see `tasks.conditions.LowResolution`.
    """

    read: Callable[[], Source]
    prepare: Callable[[np.ndarray], np.ndarray]
    low: LowResolution
    space: Space
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

    def cond(self, labels: np.ndarray, first_index: int) -> dict[str, Any]:
        """The conditioning of a batch, one image for each label."""
        x = jnp.asarray(self.space.encode(self.images(labels, first_index)))
        keys = keys_for(jax.random.key(LOW_SEED), len(labels), first_index)
        level = jnp.full(len(labels), self.level)
        return {self.low.name: self.low.noised(self.low.of(x), level, keys)}


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutMasks:
    """Padding of samples: that of held-out examples, so that samples are as long as the data are.

    Attributes:
      read: the source of the examples, read when it is first needed.
    """

    read: Callable[[], Source]

    def cond(self, first_index: int, count: int) -> dict[str, Any]:
        """The conditioning of a batch: the mask of sample i depends on i alone; none where the
        examples are not padded."""
        source = self.read()
        if not source.masked:
            return {}
        chosen = [
            np.random.default_rng(i).integers(len(source))
            for i in range(first_index, first_index + count)
        ]
        return {MASK: jnp.asarray(source.take(np.array(chosen))["mask"])}


@dataclasses.dataclass(frozen=True, eq=False)
class Captions:
    """Captions of samples: that of sample i depends on i alone.

    Attributes:
      name: of the condition. value: its value, of texts.
      read: the texts, read when they are first needed.
      in_turn: whether samples have them in turn; otherwise each has one that its number draws.
    """

    name: str
    value: Callable[[Sequence[str]], Any]
    read: Callable[[], Sequence[str]]
    in_turn: bool = True

    @functools.cached_property
    def _texts(self) -> Sequence[str]:
        return self.read()

    def of(self, first_index: int, count: int) -> list[str]:
        """The texts of samples of consecutive numbers."""
        texts, numbers = self._texts, range(first_index, first_index + count)
        if self.in_turn:
            return [texts[i % len(texts)] for i in numbers]
        return [texts[int(np.random.default_rng(i).integers(len(texts)))] for i in numbers]

    def cond(self, first_index: int, count: int) -> dict[str, Any]:
        """The conditioning of a batch."""
        return {self.name: jax.tree.map(jnp.asarray, self.value(self.of(first_index, count)))}


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """A sampler in batches, for labels.

    Sample i depends on the key, on i and on its label, not on the size of the batch it is drawn in
    nor on the devices that a batch is spread over.

    Attributes:
      num_classes: classes that can be asked for; 0 for none.
      batch_size: drawn at once, over all devices of the host; None for the most that fit.
      low: the images that an upsampler enlarges; None for other models.
      masks: the padding of samples; None where data are never padded.
      class_names: of the classes, for pictures; read when samples are drawn.
      captions: of a model that is conditioned on them; None for others.
    """

    sampler: Sampler
    num_classes: int = 0
    batch_size: int | None = None
    low: HeldOutLow | None = None
    masks: HeldOutMasks | None = None
    class_names: Callable[[], Sequence[str]] = tuple
    captions: Captions | None = None

    def labels(self, count: int) -> np.ndarray:
        """The classes in turn, 0, 1, ..., int32 (count,); -1 throughout without classes."""
        if not self.num_classes:
            return np.full(count, -1, np.int32)
        return np.arange(count, dtype=np.int32) % self.num_classes

    def cond(self, labels: np.ndarray, first_index: int) -> dict[str, Any]:
        """The conditioning of a batch."""
        cond: dict[str, Any] = {"labels": jnp.asarray(labels)} if self.num_classes else {}
        cond |= self.low.cond(labels, first_index) if self.low is not None else {}
        cond |= self.masks.cond(first_index, len(labels)) if self.masks is not None else {}
        return cond | (
            self.captions.cond(first_index, len(labels)) if self.captions is not None else {}
        )

    def draw(
        self,
        predict: Predictor,
        key: Key[Array, ""],
        labels: np.ndarray,
        *,
        first_index: int = 0,
        frames: int = 0,
        progress: Progress | None = None,
    ) -> Generated:
        """A sample for each label, in batches of `batch_size`; see `fitted`.

        Args:
          labels: int32 (n,), see `labels`. first_index: the index of the first sample.
          frames: length of the first batch's path, 0 for none.
          progress: called as progress(steps done, steps in all), over all batches.
        """
        count, size = len(labels), self._at_once(predict, len(labels))
        frames = min(frames, len(self.sampler.grid.t)) if self.sampler.space.of_images else 0
        parts = list(batches(count, size))
        found: list[tuple[np.ndarray, ...]] = []
        path, masks = None, []
        for number, chosen in enumerate(parts):
            first = first_index + number * size
            cond = self.cond(labels[chosen], first)
            masks += [np.asarray(cond[MASK])] if MASK in cond else []
            with lowering(FIELD, size):
                samples = self.sampler.draw(
                    key,
                    predict,
                    size,
                    cond=cond,
                    first_index=first,
                    frames=0 if number else frames,
                    progress=part_of(progress, number, len(parts)) if progress else None,
                )
                x, nfe, ok = (np.asarray(a) for a in (samples.x, samples.nfe, samples.ok))
            data = self.sampler.space.decode(x)
            if MASK in cond:
                data = np.where(np.asarray(cond[MASK]), data, 0).astype(data.dtype)
            found.append((data, nfe, ok))
            if samples.path is not None:
                path = self._shown(samples.path)[:count]
        data, nfe, ok = (np.concatenate(of)[:count] for of in zip(*found, strict=True))
        mask = np.concatenate(masks)[:count] if masks else None
        times = (
            None if path is None else np.asarray(self.sampler.grid.t)[self._nodes(path.shape[1])]
        )
        names = tuple(self.class_names())
        texts = tuple(self.captions.of(first_index, count)) if self.captions is not None else ()
        return Generated(data, labels, float(nfe.mean()), ok, path, times, mask, names, texts)

    def fitted(self, predict: Predictor, count: int) -> "Generator":
        """The generator with a number for its batch, the largest that fits for so many samples."""
        if self.batch_size is not None:
            return self
        return dataclasses.replace(self, batch_size=self._at_once(predict, count))

    def _at_once(self, predict: Predictor, count: int) -> int:
        """Samples drawn at once: as many on each device of the host."""

        def lower(size: int) -> jax.stages.Lowered:
            return self.sampler.lower(predict, size, self.cond(self.labels(size), 0))

        return at_once(self.batch_size, lower, count)

    def _nodes(self, frames: int) -> np.ndarray:
        """The numbers of the nodes at which `sampling.sample` keeps so many frames."""
        return np.linspace(0, len(self.sampler.grid.t) - 1, frames, dtype=int)

    def _shown(self, path: np.ndarray) -> np.ndarray:
        """Frames (frames, b, ...) as uint8 (b, frames, ...), the noisy ones shrunk to the range."""
        sigma = np.asarray(self.sampler.grid.sigma)[self._nodes(len(path))]
        sigma[-1] = 0.0
        space = self.sampler.space
        shown = space.in_range(path, sigma[:, None, None, None, None])
        return np.swapaxes(space.decode(shown), 0, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawSamples:
    """What the training loop draws at intervals: samples, by class where there are classes, uint8
    (height, width, channels); nothing where the data are no images."""

    generator: Generator
    count: int

    def __call__(self, predict: Predictor, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        if not self.generator.sampler.space.of_images:
            return {}
        predict = self.generator.sampler.prepared(predict)
        labels = self.generator.labels(self.count)
        with progress_bar(desc="drawing samples", leave=False) as bar:
            made = self.generator.draw(predict, key, labels, progress=bar_updater(bar))
        return {"samples": made.picture}
