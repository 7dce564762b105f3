"""Controlled generation of images, end to end: what `main.py --mode control` does.

A task takes images, makes what is known of them, and says how a run is to be controlled; the result
is shown as rows of (image, what was known, several results) and measured.

    Inpaint    a mask hides part of each image                     masks, RePaint's resampling
    Colorize   only the mean of the three colours is known         replacement in a rotated basis
    Restore    a blurred, smaller, masked or projected image       DPS, pseudo-inverse guidance
    Edit       the image itself, noised to time t                  SDEdit
    Guide      the class alone                                     guidance, of any strategy
    Upscale    a smaller image of it                               an upsampler, of its own weights
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt8

from controllable import inverse_problems, masks, replacement
from controllable.sdedit import noised_start
from data.space import UNIT
from generation.batches import FIELD, at_once, batches
from metrics.feature_distance import FeatureDistance
from options.brief import brief
from options.choices import require_non_negative
from options.classes import ask
from options.errors import InvalidValue, Words, within
from options.fields import chosen
from options.memory import lowering
from options.progress import Progress, busy, part_of
from parameterization import NO_COND, Predictor
from sampling import keys_for
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


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of arrays in units of [0, 1]."""
    return -10 * math.log10(max(float(np.mean((a - b) ** 2)), 1e-12))


def colourfulness(x: np.ndarray) -> float:
    """Mean distance of a pixel's colours from their grey, (..., 3) in [0, 1]."""
    return float(np.sqrt(np.mean((x - x.mean(-1, keepdims=True)) ** 2)))


def no_options(of: np.ndarray) -> dict[str, Any]:
    """Of a task that asks nothing of the run but its conditioning."""
    return {}


class _OfImages:
    """A control task that an ordinary model can do."""

    enlarges = False
    resembles = True
    of_states = False

    def check(self, controls: "Controls") -> None:
        pass


@dataclasses.dataclass(frozen=True)
class Inpaint(_OfImages):
    """A part of each image is hidden.

    Attributes:
      mask: which.
    """

    mask: masks.Mask = chosen(masks.MASKS, masks.Box())

    def check(self, controls: "Controls") -> None:
        with within("mask"):
            ask(self.mask, "check")

    def setup(self, controls: "Controls", x: Array, asked: Asked) -> Setup:
        space, (height, width) = controls.space, x.shape[1:3]
        with within("mask"):
            mask = self.mask(height, width)
        known = mask[..., None] == 1
        truth = np.asarray(space.to_unit(x))[:, None]

        def metrics(found: np.ndarray) -> dict[str, float]:
            gap = np.broadcast_to(truth, found.shape) - found
            where = np.broadcast_to(known, found.shape)
            return {
                "psnr_hidden": psnr(gap[~where], np.zeros(1)),
                "largest_error_known": float(np.abs(gap[where]).max()),
                "spread_hidden": float(found.std(axis=1)[~where[:, 0]].mean()),
            }

        image, ends = asked.each(x), (space.low, space.high)

        def options(of: np.ndarray) -> dict[str, Any]:
            return {"constraint": replacement.inpainting(image[of], mask, ends)}

        return Setup(options, space.to_unit(x), metrics, hidden=mask != 1)


@dataclasses.dataclass(frozen=True)
class Colorize(_OfImages):
    """Only the grey of each image is known."""

    def check(self, controls: "Controls") -> None:
        channels = controls.shape[-1]
        if channels != 3:
            raise InvalidValue("", but=f"'colorize' needs 3 channels, but the model has {channels}")

    def setup(self, controls: "Controls", x: Array, asked: Asked) -> Setup:
        space = controls.space
        grey = replacement.grey_of(x)
        truth = np.asarray(space.to_unit(x))

        def metrics(found: np.ndarray) -> dict[str, float]:
            gap = found.mean(-1) - truth[:, None].mean(-1)
            return {
                "largest_error_grey": float(np.abs(gap).max()),
                "colourfulness": colourfulness(found),
                "colourfulness_of_images": colourfulness(truth),
            }

        known, ends = asked.each(grey), (space.low, space.high)

        def options(of: np.ndarray) -> dict[str, Any]:
            return {"constraint": replacement.colorization(known[of], ends)}

        return Setup(options, space.to_unit(jnp.broadcast_to(grey, x.shape)), metrics)


# What a measurement is made by: the options of an operator, and the operator for a shape.


@dataclasses.dataclass(frozen=True)
class Downsample:
    """Means over squares of pixels.

    Attributes:
      factor: side of a square; 0: 4 where that divides the image, else 2.
    """

    factor: int = 0

    def operator(self, height: int, width: int, channels: int) -> inverse_problems.Operator:
        factor = self.factor or (4 if height % 4 == width % 4 == 0 else 2)
        return inverse_problems.Downsampling(factor)


@dataclasses.dataclass(frozen=True)
class Blur:
    """A Gaussian blur.

    Attributes:
      std: of the Gaussian, as a fraction of the height.
    """

    std: float = 1 / 16

    def operator(self, height: int, width: int, channels: int) -> inverse_problems.Operator:
        return inverse_problems.gaussian_blur(height, width, height * self.std)


@dataclasses.dataclass(frozen=True)
class Fourier:
    """Low frequencies of the vertical axis and every so many of the others, as in Cartesian MRI.

    Attributes:
      low: the fraction of frequencies, up to low * height, that are all kept.
      every: of the others one in so many is kept.
    """

    low: float = 1 / 12
    every: int = 4

    def operator(self, height: int, width: int, channels: int) -> inverse_problems.Operator:
        rows = np.abs(np.fft.fftfreq(height) * height)
        mask = ((rows <= height * self.low) | (rows % self.every == 0)).astype(np.float32)
        columns = jnp.asarray(np.tile(mask[:, None], (1, width)))
        return inverse_problems.FourierSubsampling(columns)


@dataclasses.dataclass(frozen=True)
class Project:
    """Random projections of about the pixels' size.

    Attributes:
      divisor: pixels for each projection.
    """

    divisor: int = 4

    def operator(self, height: int, width: int, channels: int) -> inverse_problems.Operator:
        size = height * width * channels
        matrix = jax.random.normal(jax.random.key(0), (size // self.divisor, size))
        return inverse_problems.Projection(matrix / math.sqrt(size), (height, width, channels))


OPERATORS: dict[str, type] = {
    "downsampling": Downsample,
    "blur": Blur,
    "fourier": Fourier,
    "projection": Project,
}


@dataclasses.dataclass(frozen=True)
class PseudoInverse:
    """Pseudo-inverse guidance (Song et al. 2023)."""

    is_linear = True

    def guidance(self, operator: Any, y: Array, sigma: float, spread: float) -> Any:
        return inverse_problems.pigdm(operator, y, sigma, spread)


@dataclasses.dataclass(frozen=True)
class PosteriorSampling:
    """Diffusion posterior sampling (Chung et al. 2023).

    Attributes:
      strength: of the gradient of the residual's norm.
    """

    strength: float = 5.0
    is_linear = False

    def __post_init__(self) -> None:
        require_non_negative(self, "strength")

    def guidance(self, operator: Any, y: Array, sigma: float, spread: float) -> Any:
        return inverse_problems.dps(operator, y, self.strength)


METHODS: dict[str, type] = {"pigdm": PseudoInverse, "dps": PosteriorSampling}


@dataclasses.dataclass(frozen=True)
class Restore(_OfImages):
    """A noisy measurement of each image is known.

    Attributes:
      operator: what is measured. method: how samples are guided to it.
      sigma_y: standard deviation of the measurement's noise, in units of [0, 1].
    """

    operator: Any = chosen(OPERATORS, Downsample())
    method: Any = chosen(METHODS, PseudoInverse())
    sigma_y: float = 0.05

    def __post_init__(self) -> None:
        require_non_negative(self, "sigma_y")

    of_states = True

    def check(self, controls: "Controls") -> None:
        if self.method.is_linear and not controls.space.is_pixels:
            name = type(self.method).__name__
            but = "a decoder is between latents and the measurement, which is not linear then"
            raise InvalidValue("method", Words(name), "'dps'", but)

    def setup(self, controls: "Controls", x: Array, asked: Asked) -> Setup:
        space, pixels = controls.space, controls.space.pixels
        images = jnp.asarray(pixels.encode(asked.images))
        operator = self.operator.operator(*images.shape[1:])
        clean = operator(images)
        noise = jax.random.normal(jax.random.key(asked.seed), clean.shape)
        sigma = self.sigma_y * pixels.width
        y = clean + sigma * noise
        known, spread = asked.each(y), float(jnp.std(images))
        truth, of_states = np.asarray(pixels.to_unit(images))[:, None], space.on_states(operator)

        def metrics(found: np.ndarray) -> dict[str, float]:
            flat = jnp.asarray(pixels.from_unit(found)).reshape(-1, *images.shape[1:])
            residual = operator(flat) - asked.each(y)
            return {
                "psnr": psnr(found, np.broadcast_to(truth, found.shape)),
                "residual_std": float(jnp.std(residual)) / pixels.width,
                "noise_std": self.sigma_y,
            }

        def options(of: np.ndarray) -> dict[str, Any]:
            return {"guidance": self.method.guidance(of_states, known[of], sigma, spread)}

        ones = jnp.ones(len(images))
        back = operator.adjoint(operator.solve(y, ones, 1e-2 * ones))
        return Setup(options, pixels.to_unit(back), metrics)


@dataclasses.dataclass(frozen=True)
class Edit(_OfImages):
    """Each image is noised to a time, and denoised again.

    Attributes:
      t: the time to noise the image to.
    """

    of_states = True
    t: float = 0.5

    def check(self, controls: "Controls") -> None:
        process, earliest = controls.process, float(controls.sampler.grid.t[-1])
        if not max(process.t_min, earliest) < self.t <= process.t_max:
            expected = f"a time in ({earliest:g}, {process.t_max:g}] to start from"
            raise InvalidValue("t", self.t, expected)

    def setup(self, controls: "Controls", x: Array, asked: Asked) -> Setup:
        space = controls.space
        key = jax.random.fold_in(jax.random.key(asked.seed), 1)
        ends = (space.low, space.high) if space.is_pixels else None
        noised, node = noised_start(key, controls.process, asked.each(x), self.t, ends)
        truth = asked.images[:, None] / np.float32(255)

        def metrics(found: np.ndarray) -> dict[str, float]:
            return {"psnr_to_image": psnr(found, np.broadcast_to(truth, found.shape))}

        def options(of: np.ndarray) -> dict[str, Any]:
            return {"start": (noised[of], node)}

        seen = space.to_unit(space.in_range(noised[:: asked.results], float(node.sigma)))
        title = f"noised, t = {self.t:g}"
        return Setup(options, seen, metrics, t_start=self.t, title=title)


@dataclasses.dataclass(frozen=True)
class Guide(_OfImages):
    """Nothing but the class is known."""

    resembles = False
    of_states = True

    def setup(self, controls: "Controls", x: Array, asked: Asked) -> Setup:
        return Setup(no_options, None, lambda found: {})


@dataclasses.dataclass(frozen=True)
class Upscale:
    """A smaller image of each is known; for upsamplers."""

    enlarges = True
    resembles = True

    def check(self, controls: "Controls") -> None:
        if controls.low is None:
            but = "'upscale' needs the weights of an upsampler (conditions.low)"
            raise InvalidValue("", but=but)
        controls.low.check_level(controls.low_level)

    def setup(self, controls: "Controls", x: Array, asked: Asked) -> Setup:
        low, shape, space = controls.low, controls.shape, controls.space
        assert low is not None
        small = low.shape(shape)
        if x.shape[1:] not in (small, shape):
            got = Words(f"images of shape {x.shape[1:]}")
            raise InvalidValue("image", got, f"{small}, or {shape} to make smaller first")
        known = x if x.shape[1:] == small else low.of(x)
        level = jnp.full(len(x) * asked.results, controls.low_level)
        keys = keys_for(jax.random.key(asked.seed), len(level))
        cond = {low.name: low.noised(asked.each(known), level, keys)}

        def enlarged(method: str) -> Array:
            return jax.image.resize(known, (len(known), *shape), method)

        def metrics(found: np.ndarray) -> dict[str, float]:
            flat = jnp.asarray(space.from_unit(found)).reshape(-1, *shape)
            gap = np.asarray(low.of(flat) - asked.each(known)) / space.width
            made = {
                "consistency_rmse": float(np.sqrt(np.mean(gap**2))),
                "spread": float(found.std(axis=1).mean()),
            }
            if x.shape[1:] == shape:
                truth, cubic = map(np.asarray, map(space.to_unit, (x, enlarged("cubic"))))
                made["psnr"] = psnr(found, np.broadcast_to(truth[:, None], found.shape))
                made["psnr_of_cubic"] = psnr(cubic, truth)
            return made

        shown = space.to_unit(enlarged("nearest"))
        return Setup(no_options, shown, metrics, cond=cond)


TASKS: dict[str, type] = {
    "inpaint": Inpaint,
    "colorize": Colorize,
    "restore": Restore,
    "edit": Edit,
    "guide": Guide,
    "upscale": Upscale,
}


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
