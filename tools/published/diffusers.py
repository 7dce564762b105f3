"""Folders of diffusers with a UNet2DModel: NCSN++ with skips to images, and DDPM."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from configs.cifar10 import CENTERED, UNIT, pc
from models.importers import diffusers_config, diffusers_unet
from options.choices import choose, require
from options.errors import InvalidValue, within
from tools.published.checkpoint import (
    RAW,
    Asked,
    Checkpoint,
    Compared,
    channels_last,
    count_of,
    network_output,
    one_of,
)
from tools.published.content import SCHEDULER, Content, array_of
from tools.published.official_config import source_of

FIELDS = {"epsilon": "noise", "sample": "data", "v_prediction": "v"}
VARIANCES = {
    "fixed_small": "small",
    "fixed_small_log": "small",
    "fixed_large": "large",
    "fixed_large_log": "large",
}
Scheduler = Mapping[str, Any]


def _chain(scheduler: Scheduler, solver: dict[str, Any] | str, steps: int) -> dict[str, Any]:
    """The chain of DDPM, whose betas run evenly from the first to the last."""
    only = {"beta_schedule": "linear", "trained_betas": None, "rescale_betas_zero_snr": False}
    for name, value in only.items():
        got = scheduler.get(name, value)
        require(got == value, f"scheduler.{name}", got, repr(value))
    count = int(scheduler.get("num_train_timesteps", 1000))
    kind = scheduler.get("prediction_type", "epsilon")
    return {
        "process": {
            "name": "ddpm",
            "num_steps": count,
            "beta_min": float(scheduler.get("beta_start", 1e-4)) * count,
            "beta_max": float(scheduler.get("beta_end", 0.02)) * count,
        },
        "parameterization": {
            "output": choose(FIELDS, kind, "scheduler.prediction_type"),
            "c_noise": {"name": "time", "scale": float(count - 1)},
        },
        "loss": {"reduction": "mean"},
        "sampling": {"solver": solver, "num_steps": min(steps, count), "t_end": 0.0},
    }


def _ancestral(scheduler: Scheduler) -> dict[str, Any]:
    kind = scheduler.get("variance_type", "fixed_small")
    solver = pc("ancestral", {"name": "none"})
    solver["predictor"]["variance"] = choose(VARIANCES, kind, "scheduler.variance_type")
    return _chain(scheduler, solver, int(scheduler.get("num_train_timesteps", 1000)))


def _ddim(scheduler: Scheduler) -> dict[str, Any]:
    return _chain(scheduler, "ddim", 50)


def _multistep(scheduler: Scheduler) -> dict[str, Any]:
    return _chain(scheduler, "dpm", 30)


def _ve(scheduler: Scheduler) -> dict[str, Any]:
    """The published VE process; the network's output over sigma is the score."""
    corrector = {
        "name": "langevin",
        "snr": float(scheduler.get("snr", 0.15)),
        "num_steps": int(scheduler.get("correct_steps", 1)),
    }
    return {
        "process": {
            "name": "ve",
            "sigma_min": float(scheduler.get("sigma_min", 0.01)),
            "sigma_max": float(scheduler.get("sigma_max", 1348.0)),
        },
        "parameterization": {"output": "scaled_score", "c_noise": "log_sigma"},
        "loss": {"reduction": "half_sum"},
        "sampling": {
            "solver": pc("reverse_diffusion", corrector),
            "num_steps": int(scheduler.get("num_train_timesteps", 2000)),
            "t_end": float(scheduler.get("sampling_eps", 1e-5)),
        },
    }


# By the class of the scheduler, what it is here.
Makers = dict[str, Callable[[Scheduler], dict[str, Any]]]
CHAINS: Makers = {
    "DDPMScheduler": _ancestral,
    "DDIMScheduler": _ddim,
    "PNDMScheduler": _multistep,
    "DPMSolverMultistepScheduler": _multistep,
}
# The same by the network.
SCHEDULERS: dict[str, Makers] = {
    "ncsnpp": {"ScoreSdeVeScheduler": _ve},
    "ddpm": CHAINS,
    "unet_condition": CHAINS,
}


def _step(content: Content) -> int:
    """Of a folder that `tools.export_weights` wrote; others do not say."""
    text = content.note.get("step", "0")
    return count_of(int(text)) if text.isdecimal() and len(text) < 20 else 0


NETWORK, CLASS = "UNet2DModel", "_class_name"
MODELS = {NETWORK: "images", "UNet2DConditionModel": "images from texts"}
ELSEWHERE = {"AutoencoderKL"}  # read by a tool of their own


class DiffusersFolder(Checkpoint):
    """config.json, weights and scheduler_config.json, flat or in the folders of a pipeline."""

    title = "UNet2DModel of diffusers"

    def __init__(self, content: Content) -> None:
        super().__init__()
        self.state, self.step = content.tree, _step(content)
        self.config, self.scheduler = content.beside["config.json"], content.beside.get(SCHEDULER)
        choose(MODELS, self.config.get(CLASS, NETWORK), f"config.json: {CLASS}")
        with within("config.json"):
            self.name, self.fields = self._fields()

    def _fields(self) -> tuple[str, dict[str, Any]]:
        """Our network, by name, and its fields."""
        return diffusers_config.fields_of(self.config)

    @classmethod
    def recognise(cls, content: Content) -> "Checkpoint | None":
        config = content.beside.get("config.json", {})
        known = CLASS in config or "block_out_channels" in config
        return cls(content) if known and config.get(CLASS) not in ELSEWHERE else None

    def sections(self, asked: Asked) -> dict[str, Any]:
        expected = f"a file {SCHEDULER} beside it, or --config"
        if self.scheduler is None:
            raise InvalidValue("scheduler", but="nothing says the process", expected=expected)
        kinds = SCHEDULERS[self.name]
        made = choose(kinds, self.scheduler.get("_class_name"), "scheduler")(self.scheduler)
        size = self.config.get("sample_size")
        height, width = size if type(size) is list else (size, size)
        require(type(height) is int, "sample_size", size, "the height of the images")
        centre = bool(self.config.get("center_input_sample", False))
        made["parameterization"]["centre_input"] = centre
        return made | self._sections_of_data(height, width)

    def _sections_of_data(self, height: int, width: int) -> dict[str, Any]:
        """What is of the network and the data, of images of this size."""
        centre = bool(self.config.get("center_input_sample", False))
        return {
            "task": "image",
            "model": {"name": self.name} | self.fields,
            "data": {
                "source": source_of(height),
                "space": UNIT if centre else CENTERED,
                "image_size": (height, width),
                "num_channels": self.config.get("in_channels", 3),
            },
            "eval": {"extractor": "efficientnet_lite0"},
        }

    def params(self, which: str, experiment: Any) -> dict[str, Any]:
        if which == RAW:
            raise InvalidValue("params", which, "average", but="the folder has one set alone")
        arrays = {name: array_of(value) for name, value in self.state.items()}
        return self._parameters(arrays, experiment)

    def _parameters(self, arrays: Mapping[str, np.ndarray], experiment: Any) -> dict[str, Any]:
        return diffusers_unet.params_from_diffusers(arrays, experiment.network, experiment.shape)

    def inexact(self, experiment: Any) -> str:
        differ = diffusers_config.groups_that_differ(experiment.network, experiment.shape[0])
        if not differ:
            return ""
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        return (
            "diffusers normalises in other groups than Song et al. and this project: "
            f"{', '.join(differ[:3])}{more}"
        )

    def compared(
        self, experiment: Any, params: Any, given: Mapping[str, np.ndarray]
    ) -> list[Compared]:
        """`out` of (sample, timestep): sigma for Fourier features, whose output is over sigma."""
        channels = experiment.shape[-1]
        x = channels_last(one_of(given, "sample", "x"), channels)
        t = np.asarray(one_of(given, "timestep", "t", "cond"), np.float32)
        is_fourier = self.config.get("time_embedding_type") == "fourier"
        out = network_output(experiment, params, x, np.log(t) if is_fourier else t)
        out = out / t[:, None, None, None] if is_fourier else out
        return [Compared("out", out, channels_last(one_of(given, "out"), channels))]
