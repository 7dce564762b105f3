"""Controlled generation of images, end to end: what `main.py --mode control` does.

A task takes images, makes what is known of them, and says how a run is to be controlled; the result
is shown as rows of (image, what was known, several results) and measured.

    inpaint    a mask hides part of each image                     masks, RePaint's resampling
    colorize   only the mean of the three colours is known         replacement in a rotated basis
    restore    a blurred, smaller, masked or projected image       DPS, pseudo-inverse guidance
    edit       the image itself, noised to time t                  SDEdit
    guide      the class alone                                     guidance, of any strategy
    upscale    a smaller picture of it                             an upsampler, of its own weights
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt8

import sampling
from controllable import inverse_problems, masks, replacement
from controllable.sdedit import noised_start
from controllable.super_resolution import LowResolution
from data.space import Pixels
from metrics.feature_distance import FeatureDistance
from parameterization import NO_COND, Predictor, as_pytree
from sampling import Pacer, Solver
from sde_lib import Node, Process
from storage import pictures

Pictures = UInt8[np.ndarray, "n height width channels"]


@dataclasses.dataclass(frozen=True)
class ControlOptions:
    """What is asked for; each task reads its own fields.

    task: a name of TASKS. images, results: how many images, and results for each.
    mask: a name of masks.MASKS, or the path of a picture, white where known.
    operator: a name of OPERATORS. method: "pigdm" or "dps". sigma_y: of the measurement's noise.
    strength: of dps. t: where an edit begins.
    seed: of measurements and samples.
    """

    task: str = "inpaint"
    images: int = 4
    results: int = 4
    mask: str = "box"
    operator: str = "downsampling"
    method: str = "pigdm"
    sigma_y: float = 0.05
    strength: float = 5.0
    t: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, table in (("task", TASKS), ("operator", OPERATORS), ("method", METHODS)):
            if getattr(self, name) not in table:
                raise ValueError(
                    f"{name}: got {getattr(self, name)!r}, expected one of {sorted(table)}"
                )
        for name in ("images", "results"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected at least 1")
        for name in ("sigma_y", "strength"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 0 or more")


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """What samples: everything but the parameters.

    make_grid(t_start): the grid from there on; t_start None from the prior.
    image_shape, low, low_level: of an upsampler, what it is told and how noisy; None for others.
    null_label: the label of no class, if the model was trained with label dropout; else None.
    guide: guidance towards the class, with any task; None for none.
    judge: figures of images and the classes they should be, if there is a judge of such data.
    distance: how unlike two images look; None without a network that says so.
    """

    process: Process
    solver: Solver | Pacer
    make_grid: Callable[[float | None], Node]
    value_range: Pixels
    num_classes: int = 0
    null_label: int | None = None
    denoise: str = "tweedie"
    image_shape: tuple[int, int, int] | None = None
    low: LowResolution | None = None
    low_level: float = 0.0
    guide: Callable[[Predictor], Predictor] | None = None
    judge: Callable[[Pictures, np.ndarray], dict[str, float]] | None = None
    distance: FeatureDistance | None = None


class Setup(NamedTuple):
    """How a task controls a run of n images, each with several results side by side.

    options: arguments of `sampling.sample` for n * results samples.
    shown: what is known, in the process's range, or None.
    figures: of results (n, results, *shape), by name, in units of [0, 1].
    cond: conditioning of the n * results samples. shape: of a sample where it is not the image's.
    """

    options: dict[str, Any]
    shown: Array | None
    figures: Callable[[np.ndarray], dict[str, float]]
    t_start: float | None = None
    cond: Mapping[str, Array] = NO_COND
    shape: tuple[int, ...] | None = None


class Controlled(NamedTuple):
    """picture: rows of image, known part, results. results: (n, results, h, w, c) uint8."""

    picture: UInt8[np.ndarray, "h w c"]
    results: np.ndarray
    figures: dict[str, float]


def _each(x: Array, options: ControlOptions) -> Array:
    """Every image as often as it has results, (n * results, ...)."""
    return jnp.repeat(x, options.results, axis=0)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of arrays in units of [0, 1]."""
    return -10 * math.log10(max(float(np.mean((a - b) ** 2)), 1e-12))


def colourfulness(x: np.ndarray) -> float:
    """Mean distance of a pixel's colours from their grey, (..., 3) in [0, 1]."""
    return float(np.sqrt(np.mean((x - x.mean(-1, keepdims=True)) ** 2)))


def _inpaint(model: Model, x: Array, options: ControlOptions) -> Setup:
    height, width = x.shape[1:3]
    if options.mask in masks.MASKS:
        mask = masks.MASKS[options.mask](height, width)
    elif Path(options.mask).is_file():
        mask = masks.drawn(options.mask, height, width)
    else:
        raise ValueError(
            f"mask: got {options.mask!r}, expected one of {sorted(masks.MASKS)} or the path of a "
            "picture"
        )
    known = mask[..., None] == 1
    ends = (model.value_range.low, model.value_range.high)
    truth = np.asarray(model.value_range.to_unit(x))[:, None]

    def figures(found: np.ndarray) -> dict[str, float]:
        gap = np.broadcast_to(truth, found.shape) - found
        where = np.broadcast_to(known, found.shape)
        return {
            "psnr_hidden": psnr(gap[~where], np.zeros(1)),
            "largest_error_known": float(np.abs(gap[where]).max()),
            "spread_hidden": float(found.std(axis=1)[~where[:, 0]].mean()),
        }

    constraint = replacement.inpainting(_each(x, options), mask, ends)
    shown = jnp.where(known, x, model.value_range.from_unit(0.5))
    return Setup({"constraint": constraint}, shown, figures)


def _colorize(model: Model, x: Array, options: ControlOptions) -> Setup:
    if x.shape[-1] != 3:
        raise ValueError(f"task: 'colorize' needs 3 channels, but the model has {x.shape[-1]}")
    ends = (model.value_range.low, model.value_range.high)
    grey = replacement.grey_of(x)
    truth = np.asarray(model.value_range.to_unit(x))

    def figures(found: np.ndarray) -> dict[str, float]:
        gap = found.mean(-1) - truth[:, None].mean(-1)
        return {
            "largest_error_grey": float(np.abs(gap).max()),
            "colourfulness": colourfulness(found),
            "colourfulness_of_images": colourfulness(truth),
        }

    constraint = replacement.colorization(_each(grey, options), ends)
    return Setup({"constraint": constraint}, jnp.broadcast_to(grey, x.shape), figures)


def _fourier(height: int, width: int) -> inverse_problems.FourierSubsampling:
    """All low frequencies of one axis and every fourth of the others, as in Cartesian MRI."""
    rows = np.abs(np.fft.fftfreq(height) * height)
    mask = ((rows <= height / 12) | (rows % 4 == 0)).astype(np.float32)
    return inverse_problems.FourierSubsampling(jnp.asarray(np.tile(mask[:, None], (1, width))))


def _projection(height: int, width: int, channels: int) -> inverse_problems.Projection:
    """A quarter as many random projections as pixels, of about the pixels' size."""
    size = height * width * channels
    matrix = jax.random.normal(jax.random.key(0), (size // 4, size)) / math.sqrt(size)
    return inverse_problems.Projection(matrix, (height, width, channels))


OPERATORS: dict[str, Callable[[int, int, int], inverse_problems.Operator]] = {
    "downsampling": lambda h, w, c: inverse_problems.Downsampling(4 if h % 4 == w % 4 == 0 else 2),
    "blur": lambda h, w, c: inverse_problems.gaussian_blur(h, w, h / 16),
    "fourier": lambda h, w, c: _fourier(h, w),
    "projection": _projection,
}
METHODS = ("dps", "pigdm")


def _restore(model: Model, x: Array, options: ControlOptions) -> Setup:
    operator = OPERATORS[options.operator](*x.shape[1:])
    clean = operator(x)
    noise = jax.random.normal(jax.random.key(options.seed), clean.shape)
    # sigma_y is said in units of [0, 1].
    sigma = options.sigma_y * model.value_range.width
    y = clean + sigma * noise
    if options.method == "pigdm":
        spread = float(jnp.std(x))
        guidance = inverse_problems.pigdm(operator, _each(y, options), sigma, spread)
    else:
        guidance = inverse_problems.dps(operator, _each(y, options), options.strength)
    truth = np.asarray(model.value_range.to_unit(x))[:, None]

    def figures(found: np.ndarray) -> dict[str, float]:
        flat = jnp.asarray(model.value_range.from_unit(found)).reshape(-1, *x.shape[1:])
        residual = operator(flat) - _each(y, options)
        return {
            "psnr": psnr(found, np.broadcast_to(truth, found.shape)),
            "residual_std": float(jnp.std(residual)) / model.value_range.width,
            "noise_std": options.sigma_y,
        }

    back = operator.adjoint(operator.solve(y, jnp.ones(len(x)), jnp.full(len(x), 1e-2)))
    return Setup({"guidance": guidance}, back, figures)


def _edit(model: Model, x: Array, options: ControlOptions) -> Setup:
    ends = (model.value_range.low, model.value_range.high)
    key = jax.random.fold_in(jax.random.key(options.seed), 1)
    start = noised_start(key, model.process, _each(x, options), options.t, ends)
    truth = np.asarray(model.value_range.to_unit(x))[:, None]

    def figures(found: np.ndarray) -> dict[str, float]:
        return {"psnr_to_image": psnr(found, np.broadcast_to(truth, found.shape))}

    return Setup({"start": start}, x, figures, t_start=options.t)


def _guide(model: Model, x: Array, options: ControlOptions) -> Setup:
    if model.guide is None:
        raise ValueError("task: 'guide' needs a guidance.strategy, such as 'free'; got 'none'")
    return Setup({}, None, lambda found: {})


def _upscale(model: Model, x: Array, options: ControlOptions) -> Setup:
    told, shape = model.low, model.image_shape
    if told is None or shape is None:
        raise ValueError("task: 'upscale' needs the weights of an upsampler (data.low_size)")
    small = told.shape(shape)
    if x.shape[1:] not in (small, shape):
        raise ValueError(
            f"image: got pictures of shape {x.shape[1:]}, expected {small}, or {shape} to make "
            "smaller first"
        )
    known = x if x.shape[1:] == small else told.of(x)
    told.check_level(model.low_level)
    level = jnp.full(len(x) * options.results, model.low_level)
    keys = sampling.keys_for(jax.random.key(options.seed), len(level))
    cond = told.noised(_each(known, options), level, keys)

    def enlarged(method: str) -> Array:
        return jax.image.resize(known, (len(known), *shape), method)

    def figures(found: np.ndarray) -> dict[str, float]:
        flat = jnp.asarray(model.value_range.from_unit(found)).reshape(-1, *shape)
        gap = np.asarray(told.of(flat) - _each(known, options)) / model.value_range.width
        made = {
            "consistency_rmse": float(np.sqrt(np.mean(gap**2))),
            "spread": float(found.std(axis=1).mean()),
        }
        if x.shape[1:] == shape:
            truth, cubic = map(np.asarray, map(model.value_range.to_unit, (x, enlarged("cubic"))))
            made["psnr"] = psnr(found, np.broadcast_to(truth[:, None], found.shape))
            made["psnr_of_cubic"] = psnr(cubic, truth)
        return made

    return Setup({}, enlarged("nearest"), figures, cond=cond, shape=shape)


TASKS: dict[str, Callable[[Model, Array, ControlOptions], Setup]] = {
    "inpaint": _inpaint,
    "colorize": _colorize,
    "restore": _restore,
    "edit": _edit,
    "guide": _guide,
    "upscale": _upscale,
}


def _known_labels(model: Model, labels: np.ndarray) -> np.ndarray:
    """Labels with -1 as the null label; ValueError for a class that the model does not have."""
    unknown = labels[(labels >= model.num_classes) | (labels < -1)]
    if unknown.size:
        raise ValueError(
            f"labels: got {unknown[0]}, expected classes of the model, 0 to "
            f"{model.num_classes - 1}, or -1 for none"
        )
    if np.any(labels < 0) and model.null_label is None:
        raise ValueError(
            "labels: the model was trained with a class for every image (loss.label_dropout 0); "
            "expected control.labels to name them"
        )
    return np.where(labels < 0, model.null_label or 0, labels).astype(np.int32)


def control(
    model: Model,
    predict: Predictor,
    images: Pictures,
    labels: np.ndarray,
    options: ControlOptions,
    key: Key[Array, ""],
    progress: Callable[[int, int], None] | None = None,
) -> Controlled:
    """Runs a task on each image, `options.results` times, as one batch.

    images: uint8, of the model's size; labels: int32 (n,), -1 where there is none.
    """
    if model.low is not None and options.task != "upscale":
        raise ValueError(
            f"task: got {options.task!r}, but an upsampler (data.low_size) needs a picture to "
            "enlarge; expected 'upscale'"
        )
    x = jnp.asarray(model.value_range.from_uint8(images))
    setup = TASKS[options.task](model, x, options)
    shape = setup.shape or images.shape[1:]
    cond = dict(setup.cond)
    if model.num_classes:
        cond["labels"] = _each(jnp.asarray(_known_labels(model, labels)), options)
    began = time.perf_counter()
    made = sampling.sample(
        key,
        model.process,
        model.guide(as_pytree(predict)) if model.guide else predict,
        model.solver,
        model.make_grid(setup.t_start),
        (len(images) * options.results, *shape),
        cond=cond,
        denoise=model.denoise,
        progress=progress,
        **setup.options,
    )
    results = np.asarray(made.x).reshape(len(images), options.results, *shape)
    figures = setup.figures(np.asarray(model.value_range.to_unit(results)))
    uint8 = model.value_range.to_uint8
    flat = uint8(results).reshape(-1, *shape)
    if model.judge is not None and np.all(labels >= 0):
        figures |= model.judge(flat, np.repeat(labels, options.results))
    if model.distance is not None and images.shape[1:] == shape and options.task != "guide":
        truth = np.repeat(images, options.results, axis=0)
        figures["feature_distance"] = float(model.distance(flat, truth).mean())
        if len(images) > 1:
            figures["feature_distance_of_images"] = model.distance.between(images)
    figures |= {
        "evaluations": float(made.nfe.mean()),
        "seconds": time.perf_counter() - began,
    }
    columns = [] if images.shape[1:] != shape else [images]
    if setup.shown is not None:
        columns.append(uint8(setup.shown))
    rows = np.concatenate([np.stack(columns, axis=1), uint8(results)], axis=1)
    picture = pictures.grid(rows.reshape(-1, *shape), rows.shape[1])
    return Controlled(picture, uint8(results), figures)
