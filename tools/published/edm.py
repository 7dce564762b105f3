"""The pickles of EDM (Karras et al. 2022): SongUNet under one of three preconditionings."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from configs.cifar10 import CENTERED, UNIT, pc
from data import CONDITIONING_DIM
from models.importers import edm
from options.choices import choose, require
from options.errors import InvalidValue, within
from tools.published.checkpoint import (
    RAW,
    Asked,
    Checkpoint,
    Compared,
    channels_last,
    one_of,
)
from tools.published.content import Content, array_of
from tools.published.edm_pickle import tensors_of
from tools.published.official_config import source_of
from tools.safe_pickle import Record

AUGMENTED = 0.12  # the probability of each augmentation in the published runs at 32 px


def _edm(state: Mapping[str, Any]) -> dict[str, Any]:
    sigma_data = float(state.get("sigma_data", 0.5))
    return {
        "process": {"name": "edm"},
        "parameterization": {
            "output": {"name": "edm", "sigma_data": sigma_data},
            "c_noise": "edm",
        },
        "loss": {
            "weighting": {"name": "edm", "sigma_data": sigma_data},
            "times": {"name": "lognormal", "mean": -1.2, "std": 1.2},
            "reduction": "mean",
        },
        "sampling": {
            "solver": "heun",
            "grid": "edm",
            "num_steps": 18,
            "t_end": 0.002,
            "end_clean": True,
        },
    }


def _vp(state: Mapping[str, Any]) -> dict[str, Any]:
    """D = x - sigma F(x / (1 + sigma^2)^(1/2)), c_noise = (M - 1) t: a noise prediction."""
    beta_min = float(state.get("beta_min", 0.1))
    numbers = {"beta_min": beta_min, "beta_max": beta_min + float(state.get("beta_d", 19.9))}
    scale = float(state.get("M", 1000) - 1)
    return {
        "process": {"name": "vp"} | numbers,
        "parameterization": {"output": "noise", "c_noise": {"name": "time", "scale": scale}},
        "loss": {"reduction": "mean"},
        "sampling": {"solver": "heun", "num_steps": 128, "t_end": 1e-3},
    }


def _ve(state: Mapping[str, Any]) -> dict[str, Any]:
    """D = x + sigma F(x), c_noise = log(sigma / 2), for data in [-1, 1]. In [0, 1], where sigma is
    half as much, F is -eps and c_noise log sigma."""
    low, high = float(state.get("sigma_min", 0.02)) / 2, float(state.get("sigma_max", 100)) / 2
    return {
        "process": {"name": "ve", "sigma_min": low, "sigma_max": high},
        "parameterization": {
            "output": "scaled_score",
            "c_noise": "log_sigma",
            "centre_input": True,
        },
        "loss": {"reduction": "mean"},
        "sampling": {
            "solver": pc("reverse_diffusion", {"name": "langevin", "snr": 0.16}),
            "t_end": 1e-5,
        },
    }


PRECONDITIONINGS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "EDMPrecond": _edm,
    "VPPrecond": _vp,
    "VEPrecond": _ve,
}
NETWORKS = {"SongUNet": "DDPM++ and NCSN++"}


class EDMNetwork(Checkpoint):
    """{"ema": network}: the average alone."""

    title = "EDM"

    def __init__(self, network: Record) -> None:
        super().__init__()
        self.state = network.state
        self.precondition = choose(PRECONDITIONINGS, network.class_name, "preconditioning")
        self.unet = self.state["_modules"]["model"]
        choose(NETWORKS, self.unet.class_name, "network")
        self.kwargs = dict(self.unet.state["_init_kwargs"])

    @classmethod
    def recognise(cls, content: Content) -> "Checkpoint | None":
        found: Any = content.tree["ema"] if "ema" in content.keys else None
        return cls(found) if hasattr(found, "class_name") else None

    def sections(self, asked: Asked) -> dict[str, Any]:
        size, channels = int(self.state["img_resolution"]), int(self.state["img_channels"])
        classes, augment = int(self.kwargs.get("label_dim", 0)), self.kwargs.get("augment_dim", 0)
        expected = f"0 or {CONDITIONING_DIM}"
        require(augment in (0, CONDITIONING_DIM), "augment_dim", augment, expected)
        given = self.precondition(self.state)
        dropout = float(self.kwargs.get("label_dropout", 0))
        labels = {"labels": {"num_classes": classes, "dropout": dropout}} if classes else {}
        centre = given["parameterization"].get("centre_input", False)
        with within("network"):
            fields = edm.fields_of(self.kwargs)
        return given | {
            "task": "image",
            "model": {"name": "ncsnpp"} | fields,
            "conditions": labels,
            "data": {
                "source": source_of(size),
                "space": UNIT if centre else CENTERED,
                "image_size": (size, size),
                "num_channels": channels,
                "augment": AUGMENTED if augment else 0.0,
            },
            "eval": {"extractor": "efficientnet_lite0"},
        }

    def params(self, which: str, experiment: Any) -> dict[str, Any]:
        if which == RAW:
            raise InvalidValue("params", which, "average", but="the file has the average alone")
        arrays = {name: array_of(value) for name, value in tensors_of(self.unet).items()}
        return edm.params_from_edm(arrays, experiment.network, experiment.shape)

    def compared(
        self, experiment: Any, params: Any, given: Mapping[str, np.ndarray]
    ) -> list[Compared]:
        """D(x, sigma); `D_unlabelled` without classes, `D_augment` with augmentations."""
        one_of(given, "D", "out")
        channels, task = experiment.shape[-1], experiment.task.for_evaluation()
        x = channels_last(one_of(given, "x"), channels)
        sigma = np.asarray(one_of(given, "sigma"), np.float32)
        half = 0.5 if task.parameterization.centre_input else 1.0
        t = task.process.time_of_log_snr(-2 * jnp.log(half * sigma))
        node = task.process.node(t)
        alpha = node.alpha[:, None, None, None]
        state = alpha * ((x + 1) / 2 if half != 1 else x)
        labels = {}
        if "labels" in given:
            labels = {"labels": jnp.argmax(given["labels"], 1).astype(jnp.int32)}
        augment = {"augment": jnp.asarray(given["augment"])} if "augment" in given else {}
        conds = {"D": labels, "out": labels, "D_unlabelled": {}, "D_augment": labels | augment}
        predict = task.predictor(params)
        found = []
        for name in [name for name in conds if name in given]:
            x_0 = np.asarray(predict(state, node, conds[name]).x_0)
            x_0 = 2 * x_0 - 1 if half != 1 else x_0
            found.append(Compared(name, x_0, channels_last(given[name], channels)))
        return found
