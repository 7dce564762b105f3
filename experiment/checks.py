"""What must hold of a configuration before anything is compiled or read.

`check` raises one ValueError that names the field, what was got and what was expected. A rule of
one object lives with that object (a process checks its own sigma_min); here are plain ranges and
what must hold between objects.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from data import EMBEDDED, SOURCES
from data.transforms import CROPS, FILTERS
from experiment import builders
from likelihood import PROBES
from metrics.extractors import EXTRACTORS
from sampling import DENOISE_CHOICES
from sde_lib import Node, Process
from solvers.predictor_corrector import PREDICTORS, VARIANCES

AT_LEAST_ONE = (
    "data.image_size",
    "data.num_channels",
    "training.steps",
    "training.batch_size",
    "training.n_jitted_steps",
    "sampling.num_steps",
    "sampling.num_samples",
    "sampling.batch_size",
    "eval.batch_size",
    "eval.num_probes",
    "eval.levels",
)
NOT_NEGATIVE = (
    "data.num_classes",
    "data.low_size",
    "training.max_seconds",
    "training.device_memory",
    "training.keep_every",
    "sampling.corrector_steps",
    "seed",
    "sampling.seed",
    "control.seed",
    "eval.max_images",
    "eval.likelihood_images",
)
POSITIVE = ("optim.eps", "sampling.snr", "eval.rtol", "eval.atol")
SHARES = ("loss.label_dropout", "loss.label_smoothing", "data.augment", "model.dropout")
MAY_BE_INFINITE = ("sampling.s_max", "guidance.high", "guidance.s_max_classifier")
CHOICES = {
    "sampling.denoise": DENOISE_CHOICES,
    "sampling.variance": VARIANCES,
    "eval.probe": PROBES,
    "data.name": tuple(SOURCES),
    "data.crop": CROPS,
    "data.resize": tuple(FILTERS),
    "eval.extractor": tuple(EXTRACTORS),
}


def check(config: ConfigDict, num_devices: int) -> None:
    """Raises ValueError for a configuration that cannot work on this many devices in all."""
    if config.task not in TASKS:
        raise ValueError(f"task: got {config.task!r}, expected one of {list(TASKS)}")
    _finite(config)
    _ranges(config)
    _data(config)
    process = builders.process(config)
    _process(config, process)
    TASKS[config.task](config, process)
    _training(config, num_devices)
    builders.task(config)


def _image_model(config: ConfigDict, process: Process) -> None:
    _parameterization(config)
    _network(config, builders.network(config))
    _sampling(config, process)
    _evaluation(config)
    builders.strategy(config)
    _control(config, process)


def _classifier(config: ConfigDict, process: Process) -> None:
    if config.data.num_classes < 2:
        raise ValueError(
            f"data.num_classes: got {config.data.num_classes}, but a classifier needs 2 or more"
        )
    for section, field in (
        ("data", "low_size"),
        ("loss", "label_dropout"),
        ("parameterization", "centre_input"),
        ("parameterization", "learned_variance"),
    ):
        if value := config[section][field]:
            raise ValueError(f"{section}.{field}: got {value}, but task = 'classifier' has no such")
    _network(config, builders.classifier_network(config))
    _checkpoints(builders.classifier_eval_options(config).checkpoints)


TASKS: dict[str, Callable[[ConfigDict, Process], None]] = {
    "image": _image_model,
    "classifier": _classifier,
}


def _get(config: ConfigDict, field: str):
    section, _, name = field.rpartition(".")
    return (config[section] if section else config).get(name, None)


def _finite(config: ConfigDict, prefix: str = "") -> None:
    """No number may be nan, nor infinite but where that means no limit."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            _finite(value, f"{prefix}{name}.")
        elif isinstance(value, float) and not math.isfinite(value):
            if prefix + name not in MAY_BE_INFINITE or math.isnan(value):
                raise ValueError(f"{prefix}{name}: got {value}, expected a finite number")


def _ranges(config: ConfigDict) -> None:
    rules = (
        (AT_LEAST_ONE, lambda v: v >= 1, "at least 1"),
        (NOT_NEGATIVE, lambda v: v >= 0, "0 or more"),
        (POSITIVE, lambda v: v > 0, "a positive number"),
        (SHARES, lambda v: 0 <= v < 1, "a number in [0, 1)"),
    )
    for fields, holds, expected in rules:
        for field in fields:
            value = _get(config, field)
            if value is not None and not holds(value):
                raise ValueError(f"{field}: got {value}, expected {expected}")
    for field, choices in CHOICES.items():
        if (value := _get(config, field)) not in choices:
            raise ValueError(f"{field}: got {value!r}, expected one of {list(choices)}")


def _data(config: ConfigDict) -> None:
    options = config.data
    channels, classes = EMBEDDED.get(options.name, (options.num_channels, options.num_classes))
    if options.num_channels != channels:
        raise ValueError(
            f"data.num_channels: got {options.num_channels}, but the {options.name} have {channels}"
        )
    if options.num_classes not in (0, classes):
        raise ValueError(
            f"data.num_classes: got {options.num_classes}, but the {options.name} have {classes} "
            "(or 0 to ignore)"
        )
    if options.random_flip and options.augment:
        raise ValueError("data.random_flip: got True together with data.augment, which flips too")
    if options.name in ("folder", "npz", "tfds") and not options.path:
        raise ValueError(f"data.path: got nothing, but data.name = {options.name!r} needs one")
    if options.num_channels not in (1, 3):
        raise ValueError(f"data.num_channels: got {options.num_channels}, expected 1 or 3")
    if config.loss.label_dropout and not options.num_classes:
        raise ValueError(
            f"loss.label_dropout: got {config.loss.label_dropout}, but data.num_classes is 0"
        )
    builders.transform(config)
    builders.low_resolution(config)


def _process(config: ConfigDict, process: Process) -> None:
    if not float(process.sigma(jnp.float32(process.t_min))) > 0:
        raise ValueError(
            f"process.t_min: got {process.t_min}, where this process has no noise and no score"
        )


def _parameterization(config: ConfigDict) -> None:
    options = builders.parameterization(config)
    if options.centre_input and config.data.centered:
        raise ValueError("parameterization.centre_input: got True, but data.centered does so")


def _network(config: ConfigDict, network: Any) -> None:
    try:
        network.check(config.data.image_size, config.data.image_size)
    except ValueError as error:
        raise ValueError(f"model.{error}") from None
    with builders.section("parameterization"):
        builders.parameterization(config).check(network)


def _training(config: ConfigDict, num_devices: int) -> None:
    options = config.training
    if config.optim.decay == "cosine" and config.optim.warmup >= options.steps:
        raise ValueError(
            f"optim.warmup: got {config.optim.warmup}, expected fewer than training.steps = "
            f"{options.steps}"
        )
    builders.train_options(config)
    if options.batch_size % num_devices:
        raise ValueError(
            f"training.batch_size: got {options.batch_size}, expected a multiple of the "
            f"{num_devices} devices"
        )
    if options.microbatch != "auto":
        if not options.microbatch.isdecimal() or int(options.microbatch) < 1:
            raise ValueError(
                f"training.microbatch: got {options.microbatch!r}, expected 'auto' or a number"
            )
        per_device = options.batch_size // num_devices
        if per_device % int(options.microbatch):
            raise ValueError(
                f"training.microbatch: got {options.microbatch}, expected a divisor of the "
                f"{per_device} examples per device"
            )


def _sampling(config: ConfigDict, process) -> None:
    options = config.sampling
    if not 0 <= options.t_end < process.t_max:
        raise ValueError(
            f"sampling.t_end: got {options.t_end}, expected 0 <= t_end < t_max = {process.t_max}"
        )
    if options.t_end < process.t_min:
        raise ValueError(
            f"sampling.t_end: got {options.t_end}, below process.t_min = {process.t_min}, where "
            "the network is not trained"
        )
    if options.faithful != (options.grid == "published"):
        raise ValueError(
            f"sampling.faithful: got {options.faithful} with sampling.grid = {options.grid!r}; the "
            "faithful choices go with the grid 'published', and it with them"
        )
    solver = builders.solver(config)
    predictor = getattr(solver, "predictor", None)
    learned = getattr(predictor, "variance", "") == "learned"
    if learned and not config.parameterization.learned_variance:
        raise ValueError(
            "sampling.variance: got 'learned', but parameterization.learned_variance is False"
        )
    if options.probability_flow and not hasattr(predictor, "probability_flow"):
        with_one = [name for name, cls in PREDICTORS.items() if hasattr(cls, "probability_flow")]
        raise ValueError(
            f"sampling.probability_flow: got True, but the solver {options.solver!r} with the "
            f"predictor {options.predictor!r} has none; expected the solver 'pc' with one of "
            f"{with_one}"
        )
    grid = builders.grid(config)
    with builders.section("sampling", solver="inner"):
        solver.validate(process, grid)
    _beginning(config, grid)
    builders.sample_labels(config)


def _beginning(config: ConfigDict, grid: Node) -> None:
    """What the network says at the first node must tell x_0 and eps: not all does at alpha = 0."""
    told = dataclasses.replace(builders.parameterization(config), learned_variance=False)
    first = Node(*(field[:1] for field in grid))
    found = told.predict(lambda x, c_noise: x * c_noise, jnp.ones((1, 1)), first, {})
    if not np.isfinite(found.x_0 + found.eps).all():
        raise ValueError(
            f"parameterization.output: got {config.parameterization.output!r} with c_noise = "
            f"{config.parameterization.c_noise!r}, which is not finite at t = {first.t[0]:.4g}, "
            f"where sampling begins and alpha is {first.alpha[0]:.4g}; expected 'data', 'v' or "
            "'velocity', or an earlier sampling.t_start"
        )


def _control(config: ConfigDict, process: Process) -> None:
    options = builders.control_options(config)
    earliest = max(process.t_min, config.sampling.t_end)
    if options.task == "edit" and not earliest < options.t <= process.t_max:
        raise ValueError(
            f"control.t: got {options.t}, expected a time in ({earliest}, {process.t_max}] to "
            "start from"
        )
    builders.control_model(config)


def _evaluation(config: ConfigDict) -> None:
    options = builders.eval_options(config)
    if config.data.low_size and options.likelihood:
        raise ValueError(
            "eval.likelihood: got True, expected False for an upsampler (data.low_size): given the "
            "means over its squares an image has no density"
        )
    if options.num_samples < 2:
        raise ValueError(f"eval.num_samples: got {options.num_samples}, expected at least 2")
    _checkpoints(options.checkpoints)


def _checkpoints(asked: str) -> None:
    steps = asked.split(",")
    if asked not in ("latest", "all") and not all(s.strip().isdecimal() for s in steps):
        raise ValueError(
            f"eval.checkpoints: got {asked!r}, expected 'latest', 'all' or steps as in '1000,2000'"
        )
