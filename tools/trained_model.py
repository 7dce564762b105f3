"""A generative model from exported weights or a workdir, as the tools take it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment import kinds, modes
from experiment.experiment import at
from experiment.image import ImageExperiment
from parameterization import NetworkPredictor


def open_model(
    where: str | Path, overrides: Mapping[str, Any] | None = None
) -> tuple[ImageExperiment, NetworkPredictor]:
    """The checked experiment that `where` remembers, and its network with averaged parameters.

    overrides: of the configuration, see `kinds.load`.

    Raises:
      UserError: there is no such model, or its configuration cannot work so.
    """
    trained = at(where)
    config = kinds.load(where, overrides)
    command = modes.Command(config, trained.workdir, trained.weights)
    experiment = modes.image_experiment(command)
    return experiment, experiment.task.predictor(trained.params(experiment.template))
