"""From a configuration to objects: the only reader of configs.

Every builder takes the whole configuration and raises ValueError with the name of the field that
is at fault. `checks.py` goes through all of them before anything is compiled or read.
"""

import contextlib
import dataclasses
import difflib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import losses
import models
import sampling
from configs import saved
from controllable.resampling import Resampled
from controllable.strategies import STRATEGIES, Strategy
from controllable.super_resolution import Stage
from data import (
    CENTERED,
    CONDITIONING_DIM,
    SOURCES,
    UNIT,
    Augment,
    Loader,
    Range,
    Source,
    Transform,
)
from data.image_file import RefusedImage, decode
from data.transforms import resize
from evaluation.classifiers import ClassifierEvalOptions, ClassifierSubject
from evaluation.image_models import EvalOptions, Subject
from generation.controls import ControlOptions, Model
from generation.guide import Guide
from generation.sampler import DrawSamples, Generator, HeldOutLow
from metrics.extractors import load as load_extractor
from metrics.feature_distance import FeatureDistance
from metrics.legibility import judged
from parameterization import C_NOISE, OUTPUTS, Parameterization, Predictor
from sde_lib import PROCESSES, Node, Process
from solvers import SOLVERS
from solvers.picard import Picard
from solvers.predictor_corrector import CORRECTORS, PREDICTORS, PredictorCorrector
from storage import checkpoint, weights
from storage.files import cache_folder
from tasks.classifier import ClassifierTask, NoisyClassifier
from tasks.conditions import Augmentation, ClassLabel, Condition, LowResolution
from tasks.image import ImageTask
from tasks.task import Task
from training.ema import EMA
from training.loop import TrainOptions
from training.optimizer import Optimizer

# The sections of a configuration, as an error names them.
SECTION = re.compile(
    r"(control|data|ema|eval|guidance|loss|model|optim|parameterization|process|sampling|training)"
    r"[.:]"
)


@contextlib.contextmanager
def section(name: str, **fields: str) -> Iterator[None]:
    """Puts the section's name before an error that names a field of it, there called `fields`."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        if isinstance(error, OSError) and error.errno:  # the system's own
            raise
        message = str(error)
        for theirs, ours in fields.items():
            message = re.sub(f"^{theirs}:", f"{ours}:", message)
        kind = FileNotFoundError if isinstance(error, OSError) else ValueError
        raise kind(message if SECTION.match(message) else f"{name}.{message}") from None


def _choose(table: Mapping[str, Any], name: str, field: str) -> Any:
    if name not in table:
        near = difflib.get_close_matches(str(name), table, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{field}: got {name!r}, expected one of {sorted(table)}{hint}")
    return table[name]


def _fields(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls) if field.init}


def _known(cls: type, section: ConfigDict) -> dict[str, Any]:
    """The entries of a section that `cls` has a field for."""
    return {key: value for key, value in section.items() if key in _fields(cls)}


def process(config: ConfigDict) -> Process:
    """The noising process."""
    cls = _choose(PROCESSES, config.process.name, "process.name")
    with section("process"):
        return cls(**_known(cls, config.process))


def parameterization(config: ConfigDict) -> Parameterization:
    """What the network predicts and is conditioned on."""
    options = config.parameterization
    output = _choose(OUTPUTS, options.output, "parameterization.output")
    c_noise = _choose(C_NOISE, options.c_noise, "parameterization.c_noise")
    scale = {"scale": options.time_scale} if "scale" in _fields(c_noise) else {}
    with section("parameterization", scale="time_scale"):
        return Parameterization(
            output(**_known(output, options)),
            c_noise(**scale),
            options.centre_input,
            options.learned_variance,
        )


def network(config: ConfigDict) -> Any:
    """The Flax module, with the conditions that the data section asks for."""
    cls = _choose(models.MODELS, config.model.name, "model.name")
    options = {key: _frozen(value) for key, value in config.model.items() if key != "name"}
    if found := conditions(config):
        options["conditions"] = found
    if config.parameterization.learned_variance:
        options["out_channels"] = 2 * config.data.num_channels
    return _module(cls, options)


def conditions(config: ConfigDict) -> tuple[Condition, ...]:
    """What the model is conditioned on."""
    found: list[Condition] = []
    if config.data.num_classes:
        with section("loss", dropout="label_dropout"):
            found.append(ClassLabel(config.data.num_classes, config.loss.label_dropout))
    if config.data.augment:
        found.append(Augmentation(CONDITIONING_DIM))
    low = low_resolution(config)
    return (*found, low) if low else tuple(found)


def classifier_network(config: ConfigDict) -> Any:
    """The Flax module of a classifier, with the classes of the data."""
    cls = _choose(models.CLASSIFIERS, config.model.name, "model.name")
    options = {key: _frozen(value) for key, value in config.model.items() if key != "name"}
    return _module(cls, options | {"num_classes": config.data.num_classes})


def _module(cls: type, options: dict[str, Any]) -> Any:
    unknown = sorted(set(options) - _fields(cls))
    if unknown:
        near = difflib.get_close_matches(unknown[0], _fields(cls), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"model.{unknown[0]}: {cls.__name__} has no such field{hint}")
    return cls(**options)


def _frozen(value: Any) -> Any:
    """A list as a tuple, so that modules and configs are hashable."""
    return tuple(_frozen(v) for v in value) if isinstance(value, (list, tuple)) else value


def value_range(config: ConfigDict) -> Range:
    """The range that the process sees pixels in."""
    return CENTERED if config.data.centered else UNIT


def image_shape(config: ConfigDict) -> tuple[int, int, int]:
    """(height, width, channels) of one image."""
    return config.data.image_size, config.data.image_size, config.data.num_channels


def low_resolution(config: ConfigDict) -> LowResolution | None:
    """The condition of an upsampler; None for an ordinary model."""
    if not config.data.low_size:
        return None
    with section("data", size="low_size", max_level="low_level"):
        low = LowResolution(config.data.low_size, config.data.low_level)
        low.shape(image_shape(config))
    with section("sampling", level="low_level"):
        low.check_level(config.sampling.low_level)
    return low


def _resized(config: ConfigDict, image: np.ndarray) -> np.ndarray:
    """An image of a source at the model's size, uint8, as an evaluation sees it."""
    options = config.data
    return resize(image, options.image_size, options.crop != "none", by=options.resize)


def transform(config: ConfigDict) -> Transform:
    """What is made of an image on its way into a batch."""
    with section("data"):
        return Transform(
            image_size=config.data.image_size,
            crop=config.data.crop,
            flip=config.data.random_flip,
            dequantize=config.data.dequantize,
            augment=Augment(config.data.augment) if config.data.augment else None,
            value_range=value_range(config),
            resize=config.data.resize,
        )


def source(config: ConfigDict, split: str) -> Source:
    """The images of a split. Reads the disk.

    A folder of images is all there is of every split, unless sub-folders are named after splits.
    """
    options = config.data
    with section("data", split="train_split" if split == options.train_split else "eval_split"):
        if options.name == "folder":
            path = Path(options.path).expanduser()
            if any((path / name).is_dir() for name in (options.train_split, options.eval_split)):
                path = path / split
            found = SOURCES["folder"](path, channels=options.num_channels)
        elif options.name in ("tfds", "npz"):
            found = SOURCES[options.name](options.path, split)
        else:
            found = _choose(SOURCES, options.name, "data.name")(split)
        if found.image_shape and found.image_shape[2] != options.num_channels:
            raise ValueError(
                f"num_channels: got {options.num_channels}, but {found.name} has "
                f"{found.image_shape[2]}"
            )
        if options.num_classes not in (0, found.num_classes):
            raise ValueError(
                f"num_classes: got {options.num_classes}, but {found.name} has "
                f"{found.num_classes} classes"
            )
    return found


def loader(config: ConfigDict) -> Loader:
    """The stream of training batches of this host. Reads the disk."""
    return Loader(
        source(config, config.data.train_split),
        config.training.batch_size,
        transform(config),
        seed=config.seed,
        host=jax.process_index(),
        num_hosts=jax.process_count(),
    )


def classifier(config: ConfigDict, where: str | Path) -> NoisyClassifier:
    """The classifier in exported weights or a workdir, to guide the model of this config with.

    Reads the disk. ValueError where it is none, or is one of another process, range of values,
    image size or number of classes.
    """
    where = Path(where).expanduser()
    if not where.exists():
        raise ValueError(f"classifier: there is no {where}")
    theirs = saved.get_config(str(where))
    if theirs.task != "classifier":
        raise ValueError(f"classifier: {where} holds a model of task {theirs.task!r}")
    own, other = process(config), process(theirs)
    pairs = {
        "process": (dataclasses.replace(own, t_min=other.t_min), other),
        "range of values": (value_range(config), value_range(theirs)),
        "image shape": (image_shape(config), image_shape(theirs)),
        "number of classes": (
            config.data.num_classes or theirs.data.num_classes,
            theirs.data.num_classes,
        ),
    }
    for what, (expected, got) in pairs.items():
        if got != expected:
            raise ValueError(f"classifier: the {what} of {where} is {got}, the model's {expected}")
    made = classifier_task(theirs)
    template = jax.eval_shape(made.init, jax.random.key(0))
    if where.is_file():
        return made.classifier(weights.load_weights(where, template))
    return made.classifier(checkpoint.load_ema(where / "checkpoints", template=template)[0])


def generator(config: ConfigDict) -> Generator:
    """How the model is sampled; an upsampler enlarges pictures of the evaluation split."""
    low, told = low_resolution(config), None
    if low is not None:
        told = HeldOutLow(
            read=functools.partial(source, config, config.data.eval_split),
            prepare=functools.partial(_resized, config),
            low=low,
            value_range=value_range(config),
            level=config.sampling.low_level,
        )
    return Generator(
        process=process(config),
        solver=solver(config),
        grid=grid(config),
        image_shape=image_shape(config),
        value_range=value_range(config),
        num_classes=sampled_classes(config),
        denoise=config.sampling.denoise,
        batch_size=config.sampling.batch_size,
        told=told,
    )


def null_label(config: ConfigDict) -> int | None:
    """The label by which the model knows no class; None if it knows none."""
    return config.data.num_classes if config.loss.label_dropout else None


def strategy(config: ConfigDict) -> Strategy | None:
    """How sampling is guided towards a class; None for not at all."""
    options = config.guidance
    if options.strategy == "none":
        return None
    cls = _choose(STRATEGIES, options.strategy, "guidance.strategy")
    with section("guidance"):
        made = cls(**_known(cls, options))
        if config.data.num_classes and null_label(config) is None:
            raise ValueError(
                f"strategy: got {options.strategy!r}, but the model was trained with a class for "
                "every image (loss.label_dropout 0), so that it has no unconditional prediction"
            )
        if not made.needs_classifier and not config.data.num_classes:
            raise ValueError(f"strategy: got {options.strategy!r}, but the model has no classes")
        if made.needs_classifier and not options.classifier:
            raise ValueError(
                f"classifier: got nothing, but the strategy {options.strategy!r} needs weights or "
                "a workdir of a classifier"
            )
    return made


def sampled_classes(config: ConfigDict) -> int:
    """Classes that can be asked for: the model's, or those of the classifier that guides it."""
    chosen = strategy(config)
    if config.data.num_classes or chosen is None or not chosen.needs_classifier:
        return config.data.num_classes
    return saved.get_config(config.guidance.classifier).data.num_classes


def guide(config: ConfigDict) -> Guide | None:
    """Guidance towards a class; None for none. Reads the disk."""
    chosen = strategy(config)
    if chosen is None:
        return None

    def held_out() -> tuple[jax.Array, np.ndarray]:
        found = source(config, config.data.eval_split)
        count = min(config.guidance.images, len(found))
        indices = np.random.default_rng(config.seed).permutation(len(found))[:count]
        records = [found[int(i)] for i in indices]
        images = np.stack([_resized(config, record["image"]) for record in records])
        labels = np.array([record["label"] for record in records], np.int32)
        return jnp.asarray(value_range(config).from_uint8(images)), labels

    with section("guidance"):
        where = config.guidance.classifier
        found = classifier(config, where) if chosen.needs_classifier else None
    keep = cache_folder()
    return Guide(chosen, process(config), conditions(config), found, held_out, keep)


def stage(config: ConfigDict, predict: Predictor) -> Stage:
    """The model of a cascade with this predictor."""
    return Stage(
        process=process(config),
        predict=predict,
        solver=solver(config),
        grid=grid(config),
        image_shape=image_shape(config),
        low=low_resolution(config),
        num_classes=config.data.num_classes,
        denoise=config.sampling.denoise,
    )


def _times(config: ConfigDict) -> losses.Times:
    times = _choose(losses.TIMES, config.loss.times, "loss.times")
    spread = {"mean": config.loss.time_mean, "std": config.loss.time_std}
    with section("loss", mean="time_mean", std="time_std"):
        return times(**spread if _fields(times) else {})


def classifier_task(config: ConfigDict) -> ClassifierTask:
    """The training task of a classifier of noisy images."""
    told = parameterization(config)
    parts = (process(config), classifier_network(config), image_shape(config))
    times = _times(config)
    with section("loss"):
        return ClassifierTask(
            *parts,
            c_noise=told.c_noise,
            label_smoothing=config.loss.label_smoothing,
            times=times,
        )


def image_task(config: ConfigDict) -> ImageTask:
    """The training task: losses, parameters and pictures of an image model."""
    weighting = _choose(losses.WEIGHTINGS, config.loss.weighting, "loss.weighting")
    reduction = _choose(losses.REDUCTIONS, config.loss.reduction, "loss.reduction")
    coupling = _choose(losses.COUPLINGS, config.loss.coupling, "loss.coupling")
    pixels = value_range(config)
    with section("loss", num_steps="vlb_steps", weight="vlb_weight"):
        terms = (config.loss.vlb_steps, config.loss.vlb_weight)
        bound = losses.VariationalBound(*terms, pixels.low, pixels.high)
    return ImageTask(
        process=process(config),
        parameterization=parameterization(config),
        network=network(config),
        shape=image_shape(config),
        conditions=conditions(config),
        weighting=weighting(**_known(weighting, config.parameterization)),
        reduction=reduction(),
        times=_times(config),
        coupling=coupling(),
        bound=bound if config.parameterization.learned_variance else None,
        sampler=DrawSamples(generator(config), config.sampling.num_samples),
    )


TASKS: dict[str, Callable[[ConfigDict], Task]] = {
    "image": image_task,
    "classifier": classifier_task,
}


def task(config: ConfigDict) -> Task:
    """What `config.task` trains."""
    return _choose(TASKS, config.task, "task")(config)


def solver(config: ConfigDict) -> Any:
    """The sampler that `config.sampling` describes: a solver takes the fields it has."""
    with section("sampling"):
        return _solver(config.sampling, _choose(SOLVERS, config.sampling.solver, "solver"))


def _solver(options: ConfigDict, cls: type) -> Any:
    settings = {key: value for key, value in options.items() if key not in ("solver", "predictor")}
    # Where solvers differ in what a name means to them.
    settings |= {
        "faithful": options.num_steps if options.faithful else 0,
        "num_steps": options.corrector_steps if cls is PredictorCorrector else options.num_steps,
    }
    if cls is PredictorCorrector:
        predictor = _choose(PREDICTORS, options.predictor, "predictor")
        corrector = _choose(CORRECTORS, options.corrector, "corrector")
        return cls(*(part(**_take(part, settings)) for part in (predictor, corrector)))
    if cls is Picard:
        inner = _choose(SOLVERS, options.inner, "inner")
        if not hasattr(inner, "step"):
            raise ValueError(f"inner: got {options.inner!r}, expected a solver of fixed steps")
        settings["solver"] = _solver(options, inner)
    return cls(**_take(cls, settings))


def _take(cls: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that `cls` has a field for; adaptive tolerances of 0 are the class's own."""
    unset = [key for key in ("rtol", "atol") if not settings.get(key)]
    return {k: v for k, v in settings.items() if k in _fields(cls) and k not in unset}


def grid(config: ConfigDict, t_start: float | None = None) -> Node:
    """The noise levels that sampling visits; t_start takes the place of the config's."""
    options = config.sampling
    t_start = t_start or options.t_start
    make = _choose(sampling.GRIDS, options.grid, "sampling.grid")
    steps = options.num_steps - bool(options.end_clean)
    with section("sampling"):
        ends = {"t_end": options.t_end} | ({"t_start": t_start} if t_start else {})
        nodes = make(process(config), steps, **ends)
        return sampling.end_clean(nodes) if options.end_clean else nodes


def optimizer(config: ConfigDict) -> Optimizer:
    """Adam, its warm-up and clipping."""
    with section("optim"):
        return Optimizer(**config.optim, steps=config.training.steps)


def train_options(config: ConfigDict) -> TrainOptions:
    """How the training loop goes."""
    options = dict(config.training)
    # One field of a config has one type, so a number arrives as text.
    if options["microbatch"].isdecimal():
        options["microbatch"] = int(options["microbatch"])
    with section("ema"):
        ema = EMA(**config.ema)
    optim = optimizer(config)
    with section("training"):
        return TrainOptions(**options, seed=config.seed, optimizer=optim, ema=ema)


def eval_options(config: ConfigDict) -> EvalOptions:
    """What an evaluation computes."""
    return EvalOptions(**_known(EvalOptions, config.eval), seed=config.seed)


def subject(config: ConfigDict) -> Subject:
    """What an evaluation is of, and the images it is made on. Reads the disk."""
    return Subject(
        task=image_task(config),
        generator=generator(config),
        train=source(config, config.data.train_split),
        held_out=source(config, config.data.eval_split),
        transform=transform(config),
        guide=guide(config),
    )


def classifier_eval_options(config: ConfigDict) -> ClassifierEvalOptions:
    """What an evaluation of a classifier computes."""
    return ClassifierEvalOptions(**_known(ClassifierEvalOptions, config.eval), seed=config.seed)


def classifier_subject(config: ConfigDict) -> ClassifierSubject:
    """What an evaluation of a classifier is of, and its images. Reads the disk."""
    return ClassifierSubject(
        task=classifier_task(config),
        train=source(config, config.data.train_split),
        held_out=source(config, config.data.eval_split),
        transform=transform(config),
    )


def control_options(config: ConfigDict) -> ControlOptions:
    """What controlled generation is asked for."""
    with section("control"):
        return ControlOptions(**_known(ControlOptions, config.control))


def control_model(config: ConfigDict) -> Model:
    """What controlled generation samples with; RePaint's resampling is asked for there too.

    Not the guidance, which is read from the disk: `guide`.
    """
    method = solver(config)
    with section("control"):
        if config.control.repeats != 1:
            method = Resampled(method, config.control.repeats)
    return Model(
        process=process(config),
        solver=method,
        make_grid=lambda t_start: grid(config, t_start),
        value_range=value_range(config),
        num_classes=sampled_classes(config),
        null_label=null_label(config),
        denoise=config.sampling.denoise,
        image_shape=image_shape(config),
        low=low_resolution(config),
        low_level=config.sampling.low_level,
        judge=_judge_digits if config.data.name == "digits" else None,
        distance=_feature_distance(config),
    )


def _feature_distance(config: ConfigDict) -> FeatureDistance | None:
    """By the extractor of `eval`, if its weights are named; that of the digits is there."""
    of_digits = config.eval.extractor == config.data.name == "digits"
    if not (of_digits or config.eval.weights):
        return None
    with section("eval", images="extractor"):
        extractor = load_extractor(config.eval.extractor, config.eval.weights)
        extractor.check(image_shape(config))
    return FeatureDistance(extractor)


def _judge_digits(images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The share legible as the class asked for, and the share of that class at all."""
    found = judged(load_extractor("digits"), images, labels)
    return {name: found[name] for name in ("legible", "accuracy")}


def control_images(config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """The images to control, uint8 (n, h, w, c), and their labels, -1 for none. Reads the disk.

    Some of the evaluation split, chosen by `control.seed`, or the picture `control.image`.
    """
    options, (height, width, channels) = config.control, image_shape(config)
    if options.image:
        try:
            pixels = decode(Path(options.image).expanduser(), channels).pixels
        except (RefusedImage, OSError) as error:
            raise ValueError(f"control.image: {options.image}: {error}") from None
        sizes = [(height, width)]
        if (low := low_resolution(config)) is not None:
            sizes.append(low.shape((height, width, channels))[:2])
        if pixels.shape[:2] not in sizes:
            expected = " or ".join(f"{h} x {w}" for h, w in sizes)
            raise ValueError(
                f"control.image: {options.image} is of {pixels.shape[0]} x {pixels.shape[1]} "
                f"pixels, expected {expected}"
            )
        images, labels = pixels[None], np.array([-1], np.int32)
    else:
        found = source(config, config.data.eval_split)
        random = np.random.default_rng(options.seed)
        chosen = random.choice(len(found), min(options.images, len(found)), replace=False)
        records = [found[int(i)] for i in chosen]
        images = np.stack([_resized(config, record["image"]) for record in records])
        labels = np.array([record["label"] for record in records], np.int32)
    if options.labels:
        asked = _parse_labels(options.labels, "control.labels")
        labels = np.resize(np.array(asked, np.int32), len(images))
    if not sampled_classes(config):
        labels = np.full(len(images), -1, np.int32)
    return images, labels


def _parse_labels(text: str, field: str) -> list[int]:
    """Numbers between commas."""
    try:
        return [int(label) for label in text.split(",")]
    except ValueError:
        raise ValueError(f"{field}: got {text!r}, expected numbers as in '3,3,7'") from None


def sample_labels(config: ConfigDict) -> np.ndarray:
    """The class of each sample: those asked for, over and over, or all in turn; int32 (n,)."""
    count, classes = config.sampling.num_samples, sampled_classes(config)
    if not config.sampling.labels:
        return generator(config).labels(count)
    asked = _parse_labels(config.sampling.labels, "sampling.labels")
    if not all(0 <= label < classes for label in asked):
        raise ValueError(
            f"sampling.labels: got {asked}, expected classes of the model, 0 to {classes - 1}"
            if classes
            else f"sampling.labels: got {asked}, but the model has no classes"
        )
    return np.resize(np.array(asked, np.int32), count)
