"""From a configuration to objects: the only reader of configs.

Every builder takes the whole configuration and raises ValueError with the name of the field that
is at fault. `checks.py` goes through all of them before anything is compiled or read.
"""

import contextlib
import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

import losses
import models
import sampling
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
from ema import EMA
from evaluate import EvalOptions, Subject
from generate import DrawSamples, Generator
from optim import Optimizer
from parameterization import Parameterization
from sde_lib import PROCESSES, Process
from solvers.predictor_corrector import CORRECTORS, PREDICTORS, PredictorCorrector
from tasks import ImageTask
from train import TrainOptions


@contextlib.contextmanager
def _section(name: str) -> Iterator[None]:
    """Puts the section's name before an error that names a field of it."""
    try:
        yield
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(name) else f"{name}.{message}") from None


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
    with _section("process"):
        return cls(**_known(cls, config.process))


def parameterization(config: ConfigDict) -> Parameterization:
    """What the network predicts and is told."""
    with _section("parameterization"):
        return Parameterization(**config.parameterization)


def network(config: ConfigDict) -> Any:
    """The Flax module, with the classes and augmentation that the data section asks for."""
    cls = _choose(models.MODELS, config.model.name, "model.name")
    options = {key: _frozen(value) for key, value in config.model.items() if key != "name"}
    if config.data.num_classes:
        options["num_classes"] = config.data.num_classes
    if config.data.augment:
        options["augment_dim"] = CONDITIONING_DIM
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


def transform(config: ConfigDict) -> Transform:
    """What is made of an image on its way into a batch."""
    with _section("data"):
        return Transform(
            image_size=config.data.image_size,
            crop=config.data.crop,
            flip=config.data.random_flip,
            dequantize=config.data.dequantize,
            augment=Augment(config.data.augment) if config.data.augment else None,
            value_range=value_range(config),
        )


def source(config: ConfigDict, split: str) -> Source:
    """The images of a split. Reads the disk.

    A folder of images is all there is of every split, unless sub-folders are named after splits.
    """
    options = config.data
    with _section("data"):
        if options.name == "folder":
            path = Path(options.path).expanduser()
            if any((path / name).is_dir() for name in (options.train_split, options.eval_split)):
                path = path / split
            found = SOURCES["folder"](path, channels=options.num_channels)
        elif options.name == "tfds":
            found = SOURCES["tfds"](options.path, split)
        else:
            found = _choose(SOURCES, options.name, "data.name")(split)
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


def generator(config: ConfigDict) -> Generator:
    """How the model is sampled."""
    return Generator(
        process=process(config),
        solver=solver(config),
        grid=grid(config),
        image_shape=image_shape(config),
        value_range=value_range(config),
        num_classes=config.data.num_classes,
        denoise=config.sampling.denoise,
        batch_size=config.sampling.batch_size,
    )


def task(config: ConfigDict) -> ImageTask:
    """The training task: losses, parameters and pictures of an image model."""
    _choose(losses.WEIGHTINGS, config.loss.weighting, "loss.weighting")
    _choose(losses.REDUCTIONS, config.loss.reduction, "loss.reduction")
    return ImageTask(
        process=process(config),
        parameterization=parameterization(config),
        network=network(config),
        image_shape=image_shape(config),
        num_classes=config.data.num_classes,
        label_dropout=config.loss.label_dropout,
        augment_dim=CONDITIONING_DIM if config.data.augment else 0,
        dropout=bool(config.model.get("dropout", 0.0)),
        weighting=config.loss.weighting,
        reduction=config.loss.reduction,
        sampler=DrawSamples(generator(config), config.sampling.num_samples),
    )


def solver(config: ConfigDict) -> PredictorCorrector:
    """The sampler that `config.sampling` describes."""
    options = config.sampling
    faithful = options.num_steps if options.faithful else 0
    predictor = _choose(PREDICTORS, options.predictor, "sampling.predictor")
    corrector = _choose(CORRECTORS, options.corrector, "sampling.corrector")
    with _section("sampling"):
        settings = {
            "probability_flow": options.probability_flow,
            "variance": options.variance,
            "faithful": faithful,
            "snr": options.snr,
            "num_steps": options.corrector_steps,
        }
        take = lambda cls: {k: v for k, v in settings.items() if k in _fields(cls)}  # noqa: E731
        return PredictorCorrector(predictor(**take(predictor)), corrector(**take(corrector)))


def grid(config: ConfigDict) -> sampling.Node:
    """The noise levels that sampling visits."""
    make = _choose(sampling.GRIDS, config.sampling.grid, "sampling.grid")
    with _section("sampling"):
        return make(process(config), config.sampling.num_steps, t_end=config.sampling.t_end)


def optimizer(config: ConfigDict) -> Optimizer:
    """Adam, its warm-up and clipping."""
    return Optimizer(**config.optim, steps=config.training.steps)


def train_options(config: ConfigDict) -> TrainOptions:
    """How the training loop goes."""
    options = dict(config.training)
    # One field of a config has one type, so a number arrives as text.
    if options["microbatch"].isdecimal():
        options["microbatch"] = int(options["microbatch"])
    with _section("ema"):
        ema = EMA(**config.ema)
    return TrainOptions(**options, seed=config.seed, optimizer=optimizer(config), ema=ema)


def eval_options(config: ConfigDict) -> EvalOptions:
    """What an evaluation computes."""
    return EvalOptions(**config.eval, seed=config.seed)


def subject(config: ConfigDict) -> Subject:
    """What an evaluation is of, and the images it is made on. Reads the disk."""
    return Subject(
        task=task(config),
        generator=generator(config),
        train=source(config, config.data.train_split),
        held_out=source(config, config.data.eval_split),
        transform=transform(config),
    )


def sample_labels(config: ConfigDict) -> np.ndarray:
    """The class of each sample: those asked for, over and over, or all in turn; int32 (n,)."""
    count, classes = config.sampling.num_samples, config.data.num_classes
    if not config.sampling.labels:
        return generator(config).labels(count)
    try:
        asked = [int(label) for label in config.sampling.labels.split(",")]
    except ValueError:
        raise ValueError(
            f"sampling.labels: got {config.sampling.labels!r}, expected numbers as in '3,3,7'"
        ) from None
    if not all(0 <= label < classes for label in asked):
        raise ValueError(
            f"sampling.labels: got {asked}, expected classes of the model, 0 to {classes - 1}"
            if classes
            else f"sampling.labels: got {asked}, but the model has no classes"
        )
    return np.resize(np.array(asked, np.int32), count)
