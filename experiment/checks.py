"""What must hold between the parts of an experiment, before anything is compiled or read.

A rule of one object lives with that object: a process checks its own sigma_min, a solver whether it
can take a process and a grid. Here is what concerns several.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from data.source import Source
from options.choices import require
from options.classes import ask
from options.errors import InvalidValue, UserError, within
from options.fields import flat
from parameterization import Parameterization
from sde_lib import Node, Process
from tasks.conditions import LABELS, require_dropout

DROPOUT = f"{LABELS}.dropout"


def choices_in(section: Mapping[str, Any]) -> dict[str, Any]:
    """The classes that are chosen in a section and those in it, and nothing else of them."""
    found = {"name": section["name"]} if "name" in section else {}
    inner = {key: choices_in(value) for key, value in section.items() if hasattr(value, "items")}
    return found | inner


def check_numbers(config: ConfigDict, default: ConfigDict) -> None:
    """InvalidValue for a number that is nan, or infinite where the default is not, which is that of
    the same classes."""
    own = flat(default)
    for name, value in flat(config).items():
        for number in value if type(value) is tuple else (value,):
            unbounded = own.get(name) == math.inf
            if type(number) is float and not math.isfinite(number):
                if math.isnan(number) or not unbounded:
                    raise InvalidValue(name, value, "a finite number")


def check_data(experiment: Any) -> None:
    """What every kind of experiment needs: data that fit the configuration."""
    data = experiment.options.data
    experiment.transform  # noqa: B018  its own checks
    known = getattr(data.source, "channels", 0)
    if known and data.size is not None and known != data.num_channels:
        but = f"the {experiment.config.data.source.name} have {known}"
        raise InvalidValue("data.num_channels", data.num_channels, but=but)


def check_process(process: Process) -> None:
    """InvalidValue where a network would be asked for the score of data without noise."""
    if not float(process.sigma(jnp.float32(process.t_min))) > 0:
        but = "there this process has no noise and no score"
        raise InvalidValue("process.t_min", process.t_min, but=but)


def check_judge(experiment: Any) -> None:
    """What a classifier of noisy images or a text-image judge needs."""
    model = experiment.options.model
    counts = hasattr(model, "num_classes")
    require(counts, "model", type(model).__name__, "a network with a field `num_classes`")
    check_process(experiment.process)
    with within("model"):
        ask(model, "check", *experiment.shape[:-1])


def check_image(experiment: Any) -> None:
    """What a generative model needs."""
    options = experiment.options
    check_process(experiment.process)
    _check_conditions(experiment)
    _check_parameterization(options.parameterization, options.data.space)
    with within("model"):
        ask(experiment.network, "check", *experiment.shape[:-1])
    with within("parameterization"):
        options.parameterization.check(experiment.network)
    _check_sampling(experiment)
    experiment.sample_labels()
    experiment.check_texts()
    check_guidance(experiment)
    controls, task = experiment.controls, options.control.task
    # Of an upsampler only its own task can be asked, of data that are no images none; what can be
    # asked of latents, `--mode control` says.
    if experiment.space.is_pixels and (experiment.low is None or task.enlarges):
        with within("control.task"):
            controls.check(task)
    _check_evaluation(experiment)


def check_guidance(experiment: Any) -> None:
    """What the strategy refuses; where that is of the model, the field is one of its conditions."""
    guidance, of_model = experiment.options.guidance, {"conditions": "", DROPOUT: "conditions"}
    try:
        if guidance.guiding is not None:
            require_dropout(experiment.conditions, {LABELS})
        guidance.check(experiment.process, experiment.conditions)
    except UserError as error:
        with within(of_model.get(error.field, "guidance")):
            raise


def _check_conditions(experiment: Any) -> None:
    """Labels are those of the data; a condition checks the shape that it is of."""
    space = experiment.space
    if experiment.low is not None and space.of_images and not space.is_pixels:
        but = "an upsampler is of pixels: means over squares of latents are no smaller image"
        raise InvalidValue("conditions.low", but=but)
    for condition in experiment.conditions:
        with within(f"conditions.{condition.name}"):
            condition.example(experiment.shape)
    labels = experiment.labels
    if labels is not None:
        check_classes(experiment, "conditions.labels.num_classes", labels.num_classes)


def check_classes(experiment: Any, field: str, classes: int) -> None:
    """InvalidValue for a number of classes that is not that of the data, where those are known."""
    known = len(experiment.class_names)
    if known and classes != known:
        but = f"the {experiment.config.data.source.name} have {known}"
        raise InvalidValue(field, classes, but=but)


def check_classes_of(found: Source, field: str, classes: int) -> None:
    """InvalidValue for a number of classes that is not that of the data that were read."""
    if classes != found.num_classes:
        parts = [f"{found.name} has {found.num_classes} classes", found.remark]
        raise InvalidValue(field, classes, but="; ".join(part for part in parts if part))


def _check_parameterization(options: Parameterization, space: Any) -> None:
    if options.centre_input and space.low == -1:
        but = "data.space centres already"
        raise InvalidValue("parameterization.centre_input", True, but=but)


def _check_sampling(experiment: Any) -> None:
    sampling, process = experiment.options.sampling, experiment.process
    t_end = process.t_min if sampling.t_end is None else sampling.t_end
    if t_end < process.t_min:
        but = f"below process.t_min = {process.t_min} the network is not trained"
        raise InvalidValue("sampling.t_end", t_end, but=but)
    grid = experiment.grid
    _validate_solver(sampling, process, grid)
    preview = experiment.preview.sampler
    with within("preview.solver"):
        ask(preview.solver, "validate", process, preview.grid)
    predictor = getattr(sampling.solver, "predictor", None)
    variance = getattr(predictor, "variance", "")
    _check_variance(experiment, "sampling.solver.predictor.variance", variance)
    if experiment.low is not None:
        with within("sampling", level="low_level"):
            experiment.low.check_level(sampling.low_level)
    _check_beginning(experiment, grid)


def _check_variance(experiment: Any, field: str, variance: str) -> None:
    """InvalidValue for learned variances of a network that predicts none."""
    learned = experiment.options.parameterization.learned_variance
    if variance == "learned" and not learned:
        but = "parameterization.learned_variance is False"
        raise InvalidValue(field, variance, but=but)


def _validate_solver(sampling: Any, process: Any, grid: Node) -> None:
    """What the solver refuses; where that is of the grid, the field is one of `sampling`."""
    of_grid = {field.name for field in dataclasses.fields(sampling)} - {"solver"}
    try:
        ask(sampling.solver, "validate", process, grid)
    except UserError as error:
        section = "sampling" if error.field in of_grid else "sampling.solver"
        with within(section):
            raise


def _check_beginning(experiment: Any, grid: Node) -> None:
    """What the network says at the first node must give x_0 and eps: not all does at alpha = 0."""
    options = experiment.options.parameterization.on(experiment.process)
    first = Node(*(field[:1] for field in grid))
    found = options.predict(_of_any_channels(options), jnp.ones((1, 1)), first, {})
    if not np.isfinite(found.x_0 + found.eps).all():
        name = experiment.config.parameterization.output.name
        but = (
            f"it is not finite at t = {first.t[0]:.4g}, where sampling begins and alpha is "
            f"{first.alpha[0]:.4g}"
        )
        expected = "'data', 'v' or 'velocity', or an earlier sampling.t_start"
        raise InvalidValue("parameterization.output", name, expected, but=but)


def _of_any_channels(options: Parameterization) -> Any:
    """A stand-in for a network, with as many outputs as the parameterization reads."""
    channels = 2 if options.learned_variance else 1
    return lambda x, c_noise: jnp.tile(x * c_noise, (1, channels))


def _check_evaluation(experiment: Any) -> None:
    options, fid_every = experiment.options.eval, experiment.options.training.fid_every
    if fid_every and not experiment.space.of_images:
        but = "the data are no 8-bit images, which alone have an FID"
        raise InvalidValue("training.fid_every", fid_every, but=but)
    if experiment.chain is not None:
        _check_variance(experiment, "eval.bound_variance", options.bound_variance)
    if experiment.low is not None and options.likelihood:
        but = "given the means over its squares an image has no density"
        raise InvalidValue("eval.likelihood", True, "False for an upsampler", but=but)
