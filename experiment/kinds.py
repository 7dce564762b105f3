"""The kinds of experiment, by the name that a configuration gives as its `task`."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiment import configuration
from experiment.autoencoder import AutoencoderExperiment
from experiment.classifier import ClassifierExperiment
from experiment.experiment import Experiment
from experiment.from_data import settled
from experiment.handwriting import HandwritingExperiment
from experiment.image import ImageExperiment
from experiment.lines import LinesExperiment
from experiment.matching import MatchingExperiment
from options.choices import require
from options.classes import choose_class
from options.errors import InvalidValue, UserError
from options.project import find
from storage.workdir import CONFIG

KINDS: dict[str, type[Experiment]] = {
    cls.kind: cls
    for cls in (
        ImageExperiment,
        ClassifierExperiment,
        AutoencoderExperiment,
        HandwritingExperiment,
        LinesExperiment,
        MatchingExperiment,
    )
}


def load(where: str | Path, overrides: Mapping[str, Any] | None = None) -> ConfigDict:
    """The complete configuration of a file (.py), of exported weights (.npz) or of a workdir.

    where: a path, or the name of what the project ships, as in "digits/vp" and "emoji".
    overrides: values by dotted name, as in {"sampling.num_steps": 50}; a choice is made by its name
      alone, as in {"sampling.solver": "ddim", "sampling.solver.eta": 0.5}.
    """
    config = read(where, overrides)
    return configuration.override(config, overrides or {}, complete)


def read(where: str | Path, overrides: Mapping[str, Any] | None = None) -> ConfigDict:
    """The complete configuration, of whose overrides only the choices are made; see `complete`.

    What is wrong with a configuration that weights or a workdir remember names them.
    """
    given = configuration.read(where)
    try:
        return complete(given, overrides)
    except UserError:
        with remembered_by(where):
            complete(given)
        raise


@contextlib.contextmanager
def remembered_by(where: str | Path) -> Iterator[None]:
    """Inside, what is wrong with a configuration is said of the weights or workdir that has it."""
    try:
        yield
    except UserError as error:
        file = find(where)
        if file.suffix == ".py":
            raise
        file = file / CONFIG if file.is_dir() else file
        raise InvalidValue("", but=f"{file} remembers a configuration whose {error}") from None


def complete(given: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> ConfigDict:
    """Every field of a configuration, locked: what is given, and the classes' defaults.

    overrides: of these only the choices are made, since what is chosen decides which fields there
      are.
    """
    return configuration.complete(given, overrides or {}, settings_of)


def changed(given: Mapping[str, Any], overrides: Mapping[str, Any]) -> ConfigDict:
    """The complete configuration of what is given, with other values by dotted name."""
    return configuration.override(complete(given, overrides), overrides, complete)


def settings_of(task: str) -> type:
    """The settings of a kind of experiment."""
    settings: Any = getattr(choose_class(KINDS, task, "task"), "settings", None)
    is_one = dataclasses.is_dataclass(settings)
    require(is_one, "task", task, "a class whose `settings` is a dataclass")
    return settings


def experiment(config: ConfigDict) -> Experiment:
    """The experiment of a complete configuration. Reads the disk where that leaves something to its
    data, see `experiment.from_data`."""
    return choose_class(KINDS, config.task, "task")(settled(config))


def open_experiment(where: str | Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a configuration file, of exported weights or of a workdir; see `load`."""
    return experiment(load(where, overrides))
