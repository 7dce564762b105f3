"""A model of this project as a folder of diffusers: a pipeline with its UNet2DModel and scheduler,
or an AutoencoderKL.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from models.importers import diffusers_autoencoder, diffusers_config, diffusers_unet
from options.choices import choose, require
from options.errors import InvalidValue, StorageError, Words
from parameterization import LogSigma, Noise, ScaledScore, Time
from storage import json_text
from storage.files import atomic_write
from tools.published.content import CONFIG, SCHEDULER, WEIGHTS

VERSION = "0.42.1"  # of diffusers, whose layout this is


def _require(field: str, got: Any, expected: Any) -> None:
    if got != expected:
        but = f"diffusers has only {expected}"
        raise InvalidValue(field, Words(f"{got}"), but=but)


def _ve(options: Any) -> dict[str, Any]:
    _require("parameterization.output", options.parameterization.output, ScaledScore())
    _require("parameterization.c_noise", options.parameterization.c_noise, LogSigma())
    sampling, process = options.sampling, options.process
    corrector = getattr(sampling.solver, "corrector", None)
    return {
        "_class_name": "ScoreSdeVeScheduler",
        "num_train_timesteps": sampling.num_steps,
        "sigma_min": process.sigma_min,
        "sigma_max": process.sigma_max,
        "snr": getattr(corrector, "snr", 0.15),
        "correct_steps": getattr(corrector, "num_steps", 1),
        "sampling_eps": process.t_min if sampling.t_end is None else sampling.t_end,
    }


def _ddpm(options: Any) -> dict[str, Any]:
    process, count = options.process, options.process.num_steps
    _require("parameterization.output", options.parameterization.output, Noise())
    _require("parameterization.c_noise", options.parameterization.c_noise, Time(float(count - 1)))
    _require("parameterization.learned_variance", options.parameterization.learned_variance, False)
    predictor = getattr(options.sampling.solver, "predictor", None)
    variance = getattr(predictor, "variance", "large")
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": count,
        "beta_schedule": "linear",
        "beta_start": process.beta_min / count,
        "beta_end": process.beta_max / count,
        "prediction_type": "epsilon",
        "variance_type": f"fixed_{variance}",
        "clip_sample": True,
    }


# By network and process, the pipeline and what makes its scheduler.
PIPELINES: dict[str, dict[str, tuple[str, Callable[[Any], dict[str, Any]]]]] = {
    "ncsnpp": {"ve": ("ScoreSdeVePipeline", _ve)},
    "ddpm": {"ddpm": ("DDPMPipeline", _ddpm)},
}


class Folder(NamedTuple):
    """What is written.

    Attributes:
      texts: JSON files by their place in the folder. state: the tensors of the network.
      place: of the folder in it that has them.
    """

    texts: dict[str, Any]
    state: dict[str, Any]
    place: str


def autoencoder(experiment: Any, params: Mapping[str, Any]) -> Folder:
    """The folder of an autoencoder; InvalidValue for one that diffusers does not have so."""
    choose({"kl": None}, experiment.config.model.name, "model")
    coder = experiment.coder(params)
    given = coder.network, coder.mean, coder.std, max(experiment.shape[:2])
    config = diffusers_autoencoder.config_of(*given) | {"_diffusers_version": VERSION}
    state = diffusers_autoencoder.state_dict_of(params, coder.network)
    return Folder({CONFIG: config}, state, "")


def pipeline(experiment: Any, params: Mapping[str, Any]) -> Folder:
    """The folder of a generative model.

    Raises:
      InvalidValue: the first choice of the configuration that diffusers has nothing for.
    """
    config, options = experiment.config, experiment.options
    pipelines = choose(PIPELINES, config.model.name, "model")
    title, scheduler_of = choose(pipelines, config.process.name, "process")
    centre, space = options.parameterization.centre_input, experiment.space
    low = 0.0 if centre else -1.0
    got = Words(f"{getattr(space, 'low', space)} to {getattr(space, 'high', space)}")
    is_theirs = (getattr(space, "low", None), getattr(space, "high", None)) == (low, 1.0)
    require(is_theirs, "data.space", got, f"pixels from {low:g} to 1, as their pipelines have")
    scheduler = scheduler_of(options)
    unet = diffusers_config.config_of(
        experiment.network, config.model.name, experiment.shape, bool(centre)
    )
    state = diffusers_unet.state_dict_of(params, experiment.network)
    index = {
        "_class_name": title,
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "unet": ["diffusers", unet["_class_name"]],
    }
    version = {"_diffusers_version": VERSION}
    texts = {
        "model_index.json": index | version,
        f"scheduler/{SCHEDULER}": scheduler | version,
        f"unet/{CONFIG}": unet | version,
    }
    return Folder(texts, state, "unet")


FOLDERS: dict[str, Callable[[Any, Mapping[str, Any]], Folder]] = {
    "image": pipeline,
    "autoencoder": autoencoder,
}


def write(folder: str | Path, experiment: Any, params: Mapping[str, Any], step: int) -> None:
    """Writes the folder, whole or not at all; StorageError where there is one already."""
    from tools.published.own import packed

    folder = Path(folder)
    if folder.exists():
        raise StorageError("out", str(folder), "a folder that is not there yet")
    made = choose(FOLDERS, experiment.kind, "task")(experiment, params)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        for place, value in made.texts.items():
            json_text.write(temporary / place, value)
        with atomic_write(temporary / made.place / WEIGHTS[0]) as file:
            file.write(packed(made.state, {"format": "pt", "step": str(step)}))
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
