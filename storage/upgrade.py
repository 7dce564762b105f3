"""What older versions of the project saved, in the shape that this one has.

`upgrade_config` is for the configuration that exported weights or a workdir remember,
`upgrade_parameters` for the names of parameters in them. Both leave what is new as it is.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

LEVEL_FEATURES = 32  # of the level of a low-resolution image, the last rows of the old kernel

# Fields of the processes, solvers, ... that the old flat sections had, by what reads them.
PROCESS_FIELDS = {
    "ve": ("sigma_min", "sigma_max"),
    "vp": ("beta_min", "beta_max"),
    "subvp": ("beta_min", "beta_max"),
    "ddpm": ("beta_min", "beta_max", "num_steps"),
    "smld": ("sigma_min", "sigma_max", "num_steps"),
}
PREDICTOR_FIELDS = {
    "euler_maruyama": ("probability_flow",),
    "reverse_diffusion": ("probability_flow",),
    "ancestral": ("variance",),
}
SOLVER_FIELDS = {
    "ddim": ("eta",),
    "dpm": ("order", "noise"),
    "stochastic_heun": ("churn", "s_min", "s_max", "s_noise"),
    "ode": ("method", "rtol", "atol", "max_steps"),
    "adaptive_sde": ("rtol", "atol", "max_steps"),
    "picard": ("window", "tolerance", "max_steps"),
}
STRATEGY_FIELDS = {
    "free": ("scale", "low", "high"),
    "amplified": ("scale",),
    "linear": ("scale", "last_scale"),
    "truncated": ("scale", "low", "high", "s_max_classifier"),
    "automatic": ("images",),
}
CONTROL_FIELDS = {"inpaint": ("mask",), "edit": ("t",)}


def upgrade_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The nested sections of a remembered configuration; of flat ones, what their classes read."""
    if not _is_flat(config):
        return dict(config)
    new: dict[str, Any] = {"seed": config["seed"], "task": config.get("task", "image")}
    for section in ("optim", "ema", "training"):
        new[section] = dict(config[section])
    new["process"] = _picked(config["process"], "name", PROCESS_FIELDS, ("t_min",))
    new["data"] = _data(config["data"])
    upgraded = _classifier if new["task"] == "classifier" else _image
    return new | upgraded(config)


def _is_flat(config: Mapping[str, Any]) -> bool:
    return "name" in config.get("data", {})


def _picked(
    section: Mapping[str, Any], key: str, table: Mapping[str, tuple], always: tuple = ()
) -> dict[str, Any]:
    """The choice in a flat section: its name, and the fields that its class has."""
    name = section[key]
    names = (*table.get(name, ()), *always)
    return {"name": name} | {field: section[field] for field in names if field in section}


def _data(old: Mapping[str, Any]) -> dict[str, Any]:
    source = {"name": old["name"]}
    if old["name"] in ("folder", "npz", "tfds"):
        source["path"] = old["path"]
    low = -1.0 if old["centered"] else 0.0
    new: dict[str, Any] = {
        "source": source,
        "space": {"name": "pixels", "low": low, "high": 1.0},
        "image_size": (old["image_size"], old["image_size"]),
    }
    same = ("num_channels", "train_split", "eval_split", "crop", "random_flip", "dequantize")
    return new | {key: old[key] for key in (*same, "resize", "augment") if key in old}


def _times(loss: Mapping[str, Any]) -> dict[str, Any]:
    times: dict[str, Any] = {"name": loss.get("times", "uniform")}
    if times["name"] in ("lognormal", "logit_normal"):
        times |= {"mean": loss["time_mean"], "std": loss["time_std"]}
    return times


def _c_noise(parameterization: Mapping[str, Any]) -> dict[str, Any]:
    c_noise = {"name": parameterization["c_noise"]}
    if c_noise["name"] in ("time", "reversed_time"):
        c_noise["scale"] = parameterization["time_scale"]
    return c_noise


def _classifier(config: Mapping[str, Any]) -> dict[str, Any]:
    evaluation = config["eval"]
    return {
        "parameterization": {"c_noise": _c_noise(config["parameterization"])},
        "model": dict(config["model"]) | {"num_classes": config["data"]["num_classes"]},
        "loss": {
            "times": _times(config["loss"]),
            "label_smoothing": config["loss"].get("label_smoothing", 0.0),
        },
        "eval": {
            key: evaluation[key]
            for key in ("checkpoints", "batch_size", "max_images", "levels")
            if key in evaluation
        },
    }


def _image(config: Mapping[str, Any]) -> dict[str, Any]:
    loss, described = config["loss"], config["parameterization"]
    output: dict[str, Any] = {"name": described["output"]}
    weighting: dict[str, Any] = {"name": loss["weighting"]}
    for choice in (output, weighting):
        if choice["name"] == "edm":
            choice["sigma_data"] = described["sigma_data"]
    new: dict[str, Any] = {
        "parameterization": {
            "output": output,
            "c_noise": _c_noise(described),
            "centre_input": described["centre_input"],
            "learned_variance": described.get("learned_variance", False),
        },
        "model": {"dropout": 0.0} | dict(config["model"]),
        "conditions": _conditions(config),
        "loss": {
            "weighting": weighting,
            "reduction": {"name": loss["reduction"]},
            "times": _times(loss),
            "coupling": {"name": loss.get("coupling", "independent")},
        },
        "sampling": _sampling(config),
        "eval": {key: value for key, value in config["eval"].items() if key != "levels"},
    }
    if "vlb_steps" in loss:
        new["loss"]["bound"] = {"num_steps": loss["vlb_steps"], "weight": loss["vlb_weight"]}
    if "guidance" in config:
        old = config["guidance"]
        strategy = _picked(old, "strategy", STRATEGY_FIELDS)
        new["guidance"] = {"strategy": strategy, "classifier": old["classifier"]}
    if "control" in config:
        new["control"] = _control(config["control"])
    return new


def _conditions(config: Mapping[str, Any]) -> dict[str, Any]:
    data, found = config["data"], {}
    if data.get("num_classes"):
        dropout = config["loss"].get("label_dropout", 0.0)
        found["labels"] = {"num_classes": data["num_classes"], "dropout": dropout}
    if data.get("low_size"):
        found["low"] = {"size": data["low_size"], "max_level": data["low_level"]}
    return found


def _sampling(config: Mapping[str, Any]) -> dict[str, Any]:
    old = config["sampling"]
    same = ("num_steps", "end_clean", "denoise", "low_level", "num_samples", "labels")
    new = {key: old[key] for key in (*same, "batch_size", "seed") if key in old}
    new["grid"] = {"name": old["grid"]}
    new["solver"] = _solver(old, old["solver"])
    new["t_end"] = old["t_end"]
    if old.get("t_start"):
        new["t_start"] = old["t_start"]
    return new


def _solver(old: Mapping[str, Any], name: str) -> dict[str, Any]:
    if name == "pc":
        predictor = _picked(old, "predictor", PREDICTOR_FIELDS)
        corrector = {"name": old["corrector"]}
        if corrector["name"] in ("langevin", "annealed_langevin"):
            corrector |= {"snr": old["snr"], "num_steps": old["corrector_steps"]}
        if old.get("faithful"):
            for part in (predictor, corrector):
                if part["name"] != "none":
                    part["faithful"] = old["num_steps"]
        return {"name": name, "predictor": predictor, "corrector": corrector}
    solver = _picked(old | {"solver": name}, "solver", SOLVER_FIELDS)
    for tolerance in ("rtol", "atol"):  # 0 was the class's own
        if not solver.get(tolerance, 1):
            del solver[tolerance]
    if name == "picard":
        solver["solver"] = _solver(old, old["inner"])
    return solver


def _control(old: Mapping[str, Any]) -> dict[str, Any]:
    same = ("image", "images", "labels", "results", "repeats", "seed")
    new = {key: old[key] for key in same if key in old}
    task = _picked(old, "task", CONTROL_FIELDS)
    if task["name"] == "restore":
        task |= {"operator": {"name": old["operator"]}, "sigma_y": old["sigma_y"]}
        task["method"] = {"name": old["method"]}
        if old["method"] == "dps":
            task["method"]["strength"] = old["strength"]
    return new | {"task": task}


def upgrade_parameters(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters by name, "block_0/conv/kernel", as the present networks call them.

    An upsampler's U-Net was a part of it, "unet/...", and its level was the last rows of the kernel
    of the augmentation.
    """
    if not any(name.startswith("unet/") for name in arrays):
        return dict(arrays)
    found = {re.sub("^unet/", "", name): value for name, value in arrays.items()}
    kernel = found.pop("embedding/augment/kernel")
    augment, level = kernel[:-LEVEL_FEATURES], kernel[-LEVEL_FEATURES:]
    found["embedding/low/kernel"] = level
    return found | ({"embedding/augment/kernel": augment} if len(augment) else {})
