"""What older versions of the project saved, in the shape that this one has.

`upgrade_config` is for the configuration that exported weights or a workdir remember,
`upgrade_parameters` for the names of parameters in them, and `restore_old` for a training state, in
which the optimizer's moments are trees like the parameters. All leave what is new as it is.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

PyTree = Any

# What the flat sections had where they said nothing.
FLAT_DEFAULTS: dict[str, dict[str, Any]] = {
    "control": {
        "image": "",
        "images": 4,
        "labels": "",
        "mask": "box",
        "method": "pigdm",
        "operator": "downsampling",
        "repeats": 1,
        "results": 4,
        "seed": 0,
        "sigma_y": 0.05,
        "strength": 5.0,
        "t": 0.5,
        "task": "inpaint",
    },
    "data": {
        "augment": 0.0,
        "centered": False,
        "crop": "center",
        "dequantize": False,
        "eval_split": "test",
        "image_size": 28,
        "low_level": 1.0,
        "low_size": 0,
        "name": "digits",
        "num_channels": 1,
        "num_classes": 0,
        "path": "",
        "random_flip": False,
        "resize": "bicubic",
        "train_split": "train",
    },
    "eval": {
        "atol": 1e-05,
        "batch_size": 128,
        "checkpoints": "latest",
        "dequantization_draws": 1,
        "extractor": "digits",
        "levels": 20,
        "likelihood": True,
        "likelihood_images": 0,
        "loss": True,
        "max_images": 0,
        "memorisation": True,
        "num_probes": 1,
        "num_samples": 1000,
        "probe": "rademacher",
        "rtol": 1e-05,
        "samples": True,
        "weights": "",
    },
    "guidance": {
        "classifier": "",
        "high": math.inf,
        "images": 512,
        "last_scale": 1.0,
        "low": 0.0,
        "s_max_classifier": math.inf,
        "scale": 2.0,
        "strategy": "none",
    },
    "loss": {
        "coupling": "independent",
        "label_dropout": 0.0,
        "label_smoothing": 0.0,
        "reduction": "half_sum",
        "time_mean": -1.2,
        "time_std": 1.2,
        "times": "uniform",
        "vlb_steps": 1000,
        "vlb_weight": 0.001,
        "weighting": "noise",
    },
    "parameterization": {
        "c_noise": "log_sigma",
        "centre_input": False,
        "learned_variance": False,
        "output": "scaled_score",
        "sigma_data": 0.5,
        "time_scale": 999.0,
    },
    "process": {
        "beta_max": 20.0,
        "beta_min": 0.1,
        "name": "ve",
        "num_steps": 1000,
        "sigma_max": 50.0,
        "sigma_min": 0.01,
        "t_min": 1e-05,
    },
    "sampling": {
        "atol": 0.0,
        "batch_size": 64,
        "churn": 40.0,
        "corrector": "langevin",
        "corrector_steps": 1,
        "denoise": "tweedie",
        "end_clean": False,
        "eta": 0.0,
        "faithful": False,
        "grid": "uniform",
        "inner": "ddim",
        "labels": "",
        "low_level": 0.1,
        "max_steps": 2000,
        "method": "dopri5",
        "noise": False,
        "num_samples": 64,
        "num_steps": 1000,
        "order": 2,
        "predictor": "reverse_diffusion",
        "probability_flow": False,
        "rtol": 0.0,
        "s_max": math.inf,
        "s_min": 0.0,
        "s_noise": 1.0,
        "seed": 0,
        "snr": 0.16,
        "solver": "pc",
        "t_end": 1e-05,
        "t_start": 0.0,
        "tolerance": 0.001,
        "variance": "small",
        "window": 16,
    },
}

AUGMENT_KERNEL, LEVEL_KERNEL = "embedding/augment/kernel", "embedding/low/kernel"
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
CORRECTOR_FIELDS = {
    "langevin": ("snr", "num_steps"),
    "annealed_langevin": ("snr", "num_steps"),
}
SOLVER_FIELDS = {
    "ddim": ("eta",),
    "dpm": ("order", "noise"),
    "stochastic_heun": ("churn", "s_min", "s_max", "s_noise"),
    "ode": ("method", "rtol", "atol", "max_steps"),
    "adaptive_sde": ("rtol", "atol", "max_steps"),
}
STRATEGY_FIELDS = {
    "free": ("scale", "low", "high"),
    "amplified": ("scale",),
    "linear": ("scale", "last_scale"),
    "truncated": ("scale", "low", "high", "s_max_classifier"),
    "automatic": ("images",),
}
CONTROL_FIELDS = {
    "inpaint": ("mask",),
    "edit": ("t",),
    "restore": ("operator", "method", "sigma_y"),
}
METHOD_FIELDS = {"dps": ("strength",)}
FIRST_MASKS = ("box", "half", "circle", "patches")  # all others were paths
NEEDS_SIGMA_DATA = {"edm"}
WITHOUT_SPLITS = {"folder", "npy"}  # sources that may have none


def upgrade_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The nested sections of a remembered configuration; of flat ones, what their classes read."""
    if not _is_flat(config):
        return _with_drawn_mask(_computing(_nested(config)))
    config = {**config, **{k: v | dict(config.get(k, {})) for k, v in FLAT_DEFAULTS.items()}}
    new: dict[str, Any] = {"seed": config["seed"], "task": config.get("task", "image")}
    for section in ("optim", "ema"):
        new[section] = dict(config[section])
    new["training"] = _training(config["training"])
    new["process"] = _picked(config["process"], "name", PROCESS_FIELDS, ("t_min",))
    new["data"] = _data(config["data"])
    return _with_drawn_mask(_computing(new | KINDS[new["task"]](config)))


def _with_drawn_mask(config: dict[str, Any]) -> dict[str, Any]:
    """`control.task.mask` was a name, or the path of an image."""
    control = config.get("control", {})
    task = control.get("task", "")
    mask = "" if type(task) is str else task.get("mask", "")
    if type(mask) is not str or mask in ("", *FIRST_MASKS):
        return config
    drawn = dict(task) | {"mask": {"name": "drawn", "path": mask}}
    return config | {"control": dict(control) | {"task": drawn}}


def _nested(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of nested sections: the first versions that had them knew no `data.holdout`."""
    new, data = dict(config), dict(config.get("data", {}))
    if "training" in config:
        new["training"] = _training(config["training"])
    if "holdout" in data:
        return new
    source = data.get("source", "digits")
    name = source if isinstance(source, str) else source["name"]
    new["data"] = data | _holdout(name)
    return new | ({"eval": _judged(config["eval"], name)} if "eval" in config else {})


def _computing(config: Mapping[str, Any]) -> dict[str, Any]:
    """`model.dtype` was how a network computed, in training and elsewhere."""
    model = config.get("model", {})
    if "precision" in config or "dtype" not in model:
        return dict(config)
    training = "bfloat16" if model["dtype"] == "bfloat16" else "tf32"
    return dict(config) | {
        "model": _without(model, "dtype"),
        "precision": {"training": training},
    }


def _training(training: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing was once measured while a model was trained."""
    return {"evaluate_every": 0} | dict(training)


def _holdout(source: str) -> dict[str, float]:
    """Nothing was held out of what has no splits."""
    return {"holdout": 0.0} if source in WITHOUT_SPLITS else {}


def _judged(evaluation: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The extractor of the digits was once the default for all data."""
    other = evaluation.get("extractor") == "digits" and source != "digits"
    return dict(evaluation) | ({"extractor": "auto"} if other else {})


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
    new |= _holdout(old["name"])
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
        if choice["name"] in NEEDS_SIGMA_DATA:
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
        "eval": _judged(_without(config["eval"], "levels"), config["data"]["name"]),
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


KINDS = {"image": _image, "classifier": _classifier}


def _without(section: Mapping[str, Any], key: str) -> dict[str, Any]:
    rest = dict(section)
    rest.pop(key, None)
    return rest


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
    if name in COMPOSED_SOLVERS:
        return {"name": name} | COMPOSED_SOLVERS[name](old)
    solver = _picked({**old, "solver": name}, "solver", SOLVER_FIELDS)
    for tolerance in ("rtol", "atol"):  # 0 was the class's own
        if not solver.get(tolerance, 1):
            del solver[tolerance]
    return solver


def _predictor_corrector(old: Mapping[str, Any]) -> dict[str, Any]:
    predictor = _picked(old, "predictor", PREDICTOR_FIELDS)
    corrector = _picked({**old, "num_steps": old["corrector_steps"]}, "corrector", CORRECTOR_FIELDS)
    if old.get("faithful"):
        for part, table in ((predictor, PREDICTOR_FIELDS), (corrector, CORRECTOR_FIELDS)):
            if part["name"] in table:
                part["faithful"] = old["num_steps"]
    return {"predictor": predictor, "corrector": corrector}


def _picard(old: Mapping[str, Any]) -> dict[str, Any]:
    same = ("window", "tolerance")
    return {"solver": _solver(old, old["inner"])} | {key: old[key] for key in same if key in old}


COMPOSED_SOLVERS = {"pc": _predictor_corrector, "picard": _picard}


def _control(old: Mapping[str, Any]) -> dict[str, Any]:
    same = ("image", "images", "labels", "results", "repeats", "seed")
    new = {key: old[key] for key in same if key in old}
    task = _picked(old, "task", CONTROL_FIELDS)
    if "method" in task:
        task["operator"] = {"name": task["operator"]}
        task["method"] = _picked(old, "method", METHOD_FIELDS)
    return new | {"task": task}


def upgrade_parameters(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters by name, "block_0/conv/kernel", as the present networks call them.

    An upsampler's U-Net was a part of it, "unet/...", and its level was the last rows of the kernel
    of the augmentation.
    """
    if not any(name.startswith("unet/") for name in arrays):
        return dict(arrays)
    found = {re.sub("^unet/", "", name): value for name, value in arrays.items()}
    kernel = found.pop(AUGMENT_KERNEL, None)
    if kernel is None or kernel.ndim != 2:  # of no upsampler, which its network will say
        return found
    augment, level = kernel[:-LEVEL_FEATURES], kernel[-LEVEL_FEATURES:]
    found[LEVEL_KERNEL] = level
    return found | ({AUGMENT_KERNEL: augment} if len(augment) else {})


def is_part_of(old: str, names: Collection[str]) -> bool:
    """Whether a parameter in a file is, or has a part of, one of the present `names`."""
    own = re.sub("^unet/", "", old)
    halves = {own, LEVEL_KERNEL} if own == AUGMENT_KERNEL != old else {own}
    return not halves.isdisjoint(names)


def is_old(parameters: Any) -> bool:
    """Whether a tree of parameters is one of an upsampler with its U-Net inside."""
    return getattr(parameters, "keys", None) is not None and "unet" in parameters


def restore_old(state: PyTree, restore: Callable[[PyTree], PyTree]) -> PyTree:
    """A training state of an old upsampler, restored into the shapes of a present one.

    state: shapes, as `restore` takes them, in which every tree of parameters is a nested dict.
    """
    found = restore(jax.tree.map(_to_old, state, is_leaf=_is_upsampler))
    new = jax.tree.map(_to_new, found, is_leaf=is_old)
    return jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), new, state)


def _is_upsampler(tree: Any) -> bool:
    return getattr(tree, "keys", None) is not None and "low" in tree.get("embedding", {})


def _to_old(tree: Any) -> Any:
    """Shapes of a present upsampler's parameters as the old ones."""
    if not _is_upsampler(tree):
        return tree
    embedding = dict(tree["embedding"])
    level = embedding.pop("low")["kernel"]
    augment = embedding.pop("augment", None)
    rows = LEVEL_FEATURES + (augment["kernel"].shape[0] if augment else 0)
    kernel = jax.ShapeDtypeStruct((rows, level.shape[1]), level.dtype, sharding=level.sharding)
    return {"unet": {**tree, "embedding": {**embedding, "augment": {"kernel": kernel}}}}


def _to_new(tree: Any) -> Any:
    if not is_old(tree):
        return tree
    return unflatten_dict(upgrade_parameters(flatten_dict(tree, sep="/")), sep="/")
