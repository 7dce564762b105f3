"""Controlled generation of images, end to end: what `main.py --mode control` does.

A task (`generation.control_tasks`) takes images, makes what is known of them, and says how a run is
to be controlled; the result is shown as rows of (image, what was known, several results) and
measured.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt8

from data.space import UNIT
from generation.batches import FIELD, at_once, batches
from metrics.feature_distance import FeatureDistance
from options.brief import brief
from options.classes import ask
from options.errors import InvalidValue
from options.memory import lowering
from options.progress import Progress, busy, part_of
from parameterization import NO_COND, Predictor
from solvers.sampler import Sampler
from storage import pictures
from tasks.conditions import ClassLabel, Condition, LowResolution, find

Images = UInt8[np.ndarray, "n height width channels"]


@runtime_checkable
class ControlTask(Protocol):
    """What is known of images. A frozen dataclass of its own options.

    Attributes:
      enlarges: whether it is for upsamplers, which need an image to enlarge.
      of_states: whether it can be asked of latents, which have no pixels to be replaced; not said,
        it cannot.
      resembles: whether results should look like the image, which then is shown beside them.
    """

    enlarges: bool
    resembles: bool

    def check(self, controls: "Controls") -> None:
        """InvalidValue where the model cannot do it; `control.task` is put before the field."""
        ...

    def setup(self, controls: "Controls", x: Array, asked: "Asked") -> "Setup":
        """How these images, x in the process's range, are worked on; called after `check`."""
        ...


class Asked(NamedTuple):
    """What is asked for.

    Attributes:
      task: what is known of the images.
      images: uint8 (n, height, width, channels), of the model's size.
      labels: their classes, int32 (n,); -1 where there is none.
      results: how many for each image.
      seed: of measurements and of noise on what is known.
      texts: captions of the results, (n,); empty for none.
    """

    task: ControlTask
    images: Images
    labels: np.ndarray
    results: int = 1
    seed: int = 0
    texts: Sequence[str] = ()

    def each(self, x: Array) -> Array:
        """What belongs to an image, once for each of its results, (n * results, ...)."""
        return jnp.repeat(x, self.results, axis=0)


class Setup(NamedTuple):
    """How a task controls a run of n images, each with several results side by side.

    Attributes:
      options: the arguments of `sampling.sample` for some of the n * results samples, given their
        numbers (b,): they are drawn in batches.
      shown: what is known, images in [0, 1], or None.
      metrics: of results (n, results, height, width, channels), by name, in units of [0, 1].
      t_start: where the run begins; None: at the prior.
      cond: conditioning of the n * results samples.
      hidden: pixels (height, width) that are not known, and so hatched; None for none.
      title: above what is known.
    """

    options: Callable[[np.ndarray], dict[str, Any]]
    shown: Array | None
    metrics: Callable[[np.ndarray], dict[str, float]]
    t_start: float | None = None
    cond: Mapping[str, Any] = NO_COND
    hidden: np.ndarray | None = None
    title: str = "known"


class Controlled(NamedTuple):
    """panel: rows of image, known part, results. results: (n, results, h, w, c) uint8."""

    panel: pictures.Panel
    results: np.ndarray
    metrics: dict[str, float]

    def __repr__(self) -> str:
        return brief(self, "panel")

    @property
    def picture(self) -> UInt8[np.ndarray, "h w c"]:
        """The panel as it is shown."""
        return pictures.drawn(self.panel)


@dataclasses.dataclass(frozen=True, eq=False)
class Controls:
    """A model as controlled generation sees it: everything but the parameters.

    Attributes:
      sampler_from: the sampler that begins at a time; None: at the prior.
      conditions: of the model. num_classes: classes that can be asked for; 0 for none.
      class_names: in the order of their numbers, as far as they are known.
      low_level: of the noise on what an upsampler enlarges.
      batch_size: results drawn at once, over all devices of the host; None for the most that fit.
      judge: metrics of images and the classes they should be, if there is a judge of such data.
      distance: how unlike two images look; None without a network that says so.
      captioned: the conditioning by captions; InvalidValue where the model takes none.
    """

    sampler_from: Callable[[float | None], Sampler]
    conditions: tuple[Condition, ...] = ()
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    low_level: float = 0.0
    batch_size: int | None = None
    judge: Callable[[Images, np.ndarray], dict[str, float]] | None = None
    distance: FeatureDistance | None = None
    captioned: Callable[[Sequence[str]], dict[str, Any]] = lambda texts: {}

    @property
    def sampler(self) -> Sampler:
        return self.sampler_from(None)

    @property
    def process(self) -> Any:
        return self.sampler.process

    @property
    def space(self) -> Any:
        return self.sampler.space

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sampler.shape

    @property
    def low(self) -> LowResolution | None:
        """The condition of an upsampler; None for other models."""
        return find(self.conditions, LowResolution.name)

    def check(self, task: ControlTask) -> None:
        """InvalidValue where the model cannot do the task."""
        if self.low is not None and not task.enlarges:
            but = "an upsampler (conditions.low) needs an image to enlarge"
            raise InvalidValue("", type(task).__name__.lower(), "'upscale'", but=but)
        if not (self.space.is_pixels or getattr(task, "of_states", False)):
            known = "'edit', 'guide', or 'restore' by 'dps'"
            but = "it replaces pixels, which the latents that the model draws have none of"
            raise InvalidValue("", type(task).__name__.lower(), known, but)
        ask(task, "check", self)

    def run(
        self,
        predict: Predictor,
        asked: Asked,
        key: Key[Array, ""],
        progress: Progress | None = None,
    ) -> Controlled:
        """Runs the task on each image, `asked.results` times; see `setup` and `draw`."""
        return self.draw(predict, asked, self.setup(asked), key, progress)

    def setup(self, asked: Asked) -> Setup:
        """What controls the run, with the classes asked for in its conditioning."""
        self.check(asked.task)
        setup = asked.task.setup(self, jnp.asarray(self.space.encode(asked.images)), asked)
        cond = dict(setup.cond)
        if self.num_classes:
            cond["labels"] = asked.each(jnp.asarray(self.classes(asked.labels)))
        if asked.texts:
            cond |= jax.tree.map(asked.each, self.captioned(asked.texts))
        return setup._replace(cond=cond)

    def draw(
        self,
        predict: Predictor,
        asked: Asked,
        setup: Setup,
        key: Key[Array, ""],
        progress: Progress | None = None,
    ) -> Controlled:
        """The results, in batches; result i depends on the key and on i, not on its batch.

        predict: guided, where guidance is asked for.
        """
        began = time.perf_counter()
        x, nfe = self._drawn(predict, setup, len(asked.images) * asked.results, key, progress)
        found = np.asarray(self.space.to_unit(x))
        found = found.reshape(len(asked.images), asked.results, *found.shape[1:])
        metrics, data = setup.metrics(found), UNIT.to_uint8(found)
        metrics |= self._judged(asked, data)
        metrics |= {"evaluations": float(nfe.mean()), "seconds": time.perf_counter() - began}
        return Controlled(self._panel(asked, setup, data), data, metrics)

    def _drawn(
        self,
        predict: Predictor,
        setup: Setup,
        count: int,
        key: Key[Array, ""],
        progress: Progress | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Results (count, *shape) in the process's range, and the evaluations of each (count,)."""
        sampler = self.sampler_from(setup.t_start)

        def options(of: np.ndarray) -> dict[str, Any]:
            return {"cond": jax.tree.map(lambda a: a[of], dict(setup.cond)), **setup.options(of)}

        def lower(size: int) -> jax.stages.Lowered:
            return sampler.lower(predict, size, **options(np.arange(size)))

        size, found = at_once(self.batch_size, lower, count), []
        parts = list(batches(count, size))
        for number, of in enumerate(parts):
            with lowering(FIELD, size):
                made = sampler.draw(
                    key,
                    predict,
                    size,
                    first_index=number * size,
                    progress=part_of(progress, number, len(parts)) if progress else None,
                    **options(of),
                )
                found.append((np.asarray(made.x), np.asarray(made.nfe)))
        x, nfe = (np.concatenate(of)[:count] for of in zip(*found, strict=True))
        return x, nfe

    def _panel(self, asked: Asked, setup: Setup, data: np.ndarray) -> pictures.Panel:
        """Rows of (image, what was known, results); the image where results should look like it."""
        columns: dict[str, np.ndarray] = {}
        if asked.task.resembles and asked.images.shape[1:] == data.shape[2:]:
            columns["image"] = asked.images
        if setup.shown is not None:
            columns[setup.title] = UNIT.to_uint8(setup.shown)
        columns |= {f"result {i + 1}": data[:, i] for i in range(asked.results)}
        images, hidden = np.stack(list(columns.values()), axis=1), None
        if setup.hidden is not None:
            hidden = np.zeros(images.shape[:-1], bool)
            hidden[:, list(columns).index(setup.title)] = setup.hidden
        names = [pictures.name_of(int(label), self.class_names) for label in asked.labels]
        names = list(asked.texts) or names
        return pictures.Panel(images, list(columns), names if any(names) else (), hidden)

    def _judged(self, asked: Asked, data: np.ndarray) -> dict[str, float]:
        """What networks say of the results (n, results, h, w, c), where there are any."""
        flat = data.reshape(-1, *data.shape[2:])
        found: dict[str, float] = {}
        if self.judge is not None and np.all(asked.labels >= 0):
            with busy("judging the results"):
                found |= self.judge(flat, np.repeat(asked.labels, asked.results))
        same_size = asked.images.shape[1:] == data.shape[2:]
        if self.distance is not None and same_size and asked.task.resembles:
            truth = np.repeat(asked.images, asked.results, axis=0)
            with busy("comparing features of images and results"):
                found["feature_distance"] = float(self.distance(flat, truth).mean())
                if len(asked.images) > 1:
                    found["feature_distance_of_images"] = self.distance.between(asked.images)
        return found

    def classes(self, labels: np.ndarray) -> np.ndarray:
        """Labels, int32 (n,), with the null label for -1; InvalidValue for an unknown class."""
        unknown = labels[(labels >= self.num_classes) | (labels < -1)]
        if unknown.size:
            expected = f"classes of the model, 0 to {self.num_classes - 1}, or -1 for none"
            raise InvalidValue("labels", int(unknown[0]), expected)
        known = find(self.conditions, ClassLabel.name)
        if np.any(labels < 0):
            if known is None or not known.dropout:
                but = "the model was trained with a class for every image (dropout 0)"
                raise InvalidValue("labels", -1, "the classes of the images", but=but)
            labels = np.where(labels < 0, known.num_classes, labels)
        return labels.astype(np.int32)
