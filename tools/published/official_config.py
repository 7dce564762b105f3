"""A configuration of the official score-SDE code as ours, field by field.

What theirs has and ours does not, such as how often they evaluate, is left out; a choice that this
project has nothing for is an error that names their field.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from configs.cifar10 import CENTERED, UNIT, pc
from models import MODELS
from options.choices import choose, require

Config = dict[str, Any]

PREDICTORS = {
    "euler_maruyama": "euler_maruyama",
    "reverse_diffusion": "reverse_diffusion",
    "ancestral_sampling": "ancestral",
    "none": "none",
}
CORRECTORS = {"langevin": "langevin", "ald": "annealed_langevin", "none": "none"}
STEPS = 1000  # where a file does not say how many noise levels there are

# Of ours, the same field of theirs: (section, field).
COPIED = {
    "optim.lr": ("optim", "lr"),
    "optim.b1": ("optim", "beta1"),
    "optim.eps": ("optim", "eps"),
    "optim.warmup": ("optim", "warmup"),
    "optim.grad_clip": ("optim", "grad_clip"),
    "optim.weight_decay": ("optim", "weight_decay"),
    "ema.decay": ("model", "ema_rate"),
    "training.batch_size": ("training", "batch_size"),
    "training.steps": ("training", "n_iters"),
    "training.log_every": ("training", "log_freq"),
    "training.checkpoint_every": ("training", "snapshot_freq_for_preemption"),
    "training.keep_every": ("training", "snapshot_freq"),
    "data.num_channels": ("data", "num_channels"),
    "data.random_flip": ("data", "random_flip"),
    "data.dequantize": ("data", "uniform_dequantization"),
}


def sections(official: Mapping[str, Any]) -> Config:
    """The sections of our configuration.

    Raises:
      InvalidValue: a choice that there is nothing for, by their name of it.
    """
    model, data = official["model"], official["data"]
    training = official["training"]
    network = choose(NETWORKS, model.get("name"), "model.name")(model)
    centred = bool(data.get("centered"))
    process = choose(PROCESSES, training.get("sde"), "training.sde")(official)
    size = int(data["image_size"])
    config: Config = {
        "task": "image",
        "process": process["process"],
        "parameterization": process["parameterization"] | {"centre_input": not centred},
        "model": network,
        "data": {
            "source": source_of(size, str(data.get("dataset", ""))),
            "space": CENTERED if centred else UNIT,
            "image_size": (size, size),
        },
        "loss": {"reduction": "mean" if training.get("reduce_mean") else "half_sum"},
        "sampling": process["sampling"] | _sampling(official.get("sampling", {}), process),
        "eval": {"extractor": "efficientnet_lite0"},
        "optim": {},
        "ema": {},
        "training": {},
        "seed": int(official.get("seed", 42)),
    }
    if training.get("likelihood_weighting"):
        config["loss"]["weighting"] = "likelihood"
    for ours, (section, field) in COPIED.items():
        if field in official.get(section, {}):
            outer, _, inner = ours.partition(".")
            config[outer][inner] = official[section][field]
    if "grad_clip" in config["optim"]:  # off where it is below 0
        config["optim"]["grad_clip"] = max(0.0, float(config["optim"]["grad_clip"]))
    return config


def source_of(size: int, dataset: str = "") -> Config:
    """Where the data are looked for; a user's own place is --config.data.source.path."""
    is_cifar = dataset.upper().startswith("CIFAR10") or (not dataset and size == 32)
    folder = {"name": "folder", "path": "~/images"}
    return {"name": "tfds", "path": "~/tensorflow_datasets/cifar10"} if is_cifar else folder


def _unet(name: str, model: Mapping[str, Any]) -> Config:
    """Our network, with the fields that theirs has by the same name."""
    _only(model, normalization="GroupNorm", attention_type="ddpm")
    cls: Any = MODELS[name]
    known = cls.__dataclass_fields__
    fields = {k: model[k] for k in NETWORK if k in model and k in known}
    return {"name": name} | {k: tuple(v) if type(v) is list else v for k, v in fields.items()}


def _refinenet(layout: Mapping[str, tuple[int, ...]], model: Mapping[str, Any]) -> Config:
    """NCSNv2 of the widths that its name says; not conditioned on the noise, by whose level its
    output is divided."""
    _only(model, normalization="InstanceNorm++", interpolation="bilinear", scale_by_sigma=True)
    return {"name": "ncsnv2", **layout} | {
        k: model[k] for k in ("nf", "nonlinearity") if k in model
    }


def _only(model: Mapping[str, Any], **fields: Any) -> None:
    """InvalidValue for a field that has another value, by their name of it."""
    for field, only in fields.items():
        if field in model:
            require(model[field] == only, f"model.{field}", model[field], repr(only))


DEEPER = {
    "ch_mult": (1, 2, 2, 4, 4),
    "refine_mult": (1, 1, 2, 2, 4),
    "dilations": (1, 1, 1, 2, 4),
}
DEEPEST = {
    "ch_mult": (1, 2, 2, 2, 4, 4),
    "refine_mult": (1, 1, 2, 2, 2, 4),
    "dilations": (1, 1, 1, 1, 2, 4),
}
NETWORKS: dict[str, Callable[[Mapping[str, Any]], Config]] = {
    "ncsnpp": partial(_unet, "ncsnpp"),
    "ddpm": partial(_unet, "ddpm"),
    "ncsnv2_64": partial(_refinenet, {}),
    "ncsnv2_128": partial(_refinenet, DEEPER),
    "ncsnv2_256": partial(_refinenet, DEEPEST),
}
NETWORK = (
    "nf ch_mult num_res_blocks attn_resolutions dropout resamp_with_conv conditional fir "
    "fir_kernel skip_rescale resblock_type progressive progressive_input progressive_combine "
    "embedding_type fourier_scale init_scale nonlinearity conv_size"
).split()


def _ve(official: Mapping[str, Any]) -> Config:
    """Variance exploding: continuous, or the noise levels of SMLD."""
    model = official["model"]
    numbers = {"sigma_min": float(model["sigma_min"]), "sigma_max": float(model["sigma_max"])}
    continuous = official["training"].get("continuous", True)
    steps = int(model.get("num_scales", STEPS))
    output = "scaled_score" if model.get("scale_by_sigma", True) else "score"
    process = {"name": "ve"} if continuous else {"name": "smld", "num_steps": steps}
    reversed_time = {"name": "reversed_time", "scale": float(steps - 1)}
    return {
        "process": process | numbers,
        "parameterization": {
            "output": output,
            "c_noise": "log_sigma" if continuous else reversed_time,
        },
        "sampling": {"t_end": 1e-5 if continuous else 0.0, "num_steps": steps},
        "solver": ("reverse_diffusion", "langevin"),
    }


def _vp(official: Mapping[str, Any], name: str = "vp") -> Config:
    """Variance preserving: continuous, or the chain of DDPM."""
    model = official["model"]
    require(
        not model.get("scale_by_sigma", False),
        "model.scale_by_sigma",
        True,
        "False for a variance preserving process",
    )
    numbers = {"beta_min": float(model["beta_min"]), "beta_max": float(model["beta_max"])}
    continuous = official["training"].get("continuous", True) or name in CONTINUOUS
    steps = int(model.get("num_scales", STEPS))
    process = {"name": name} if continuous else {"name": "ddpm", "num_steps": steps}
    scale = 999.0 if continuous else float(steps - 1)
    return {
        "process": process | numbers,
        "parameterization": {"output": "noise", "c_noise": {"name": "time", "scale": scale}},
        "sampling": {"t_end": 1e-3 if continuous else 0.0, "num_steps": steps},
        "solver": ("euler_maruyama", "none"),
    }


def _subvp(official: Mapping[str, Any]) -> Config:
    return _vp(official, "subvp")


CONTINUOUS = {"subvp"}  # which have no discrete chain
PROCESSES: dict[str, Callable[[Mapping[str, Any]], Config]] = {
    "vesde": _ve,
    "vpsde": _vp,
    "subvpsde": _subvp,
}


def _sampling(sampling: Mapping[str, Any], process: Config) -> Config:
    """The solver, and what is done at the end."""
    method = choose(METHODS, sampling.get("method", "pc"), "sampling.method")
    final = {"denoise": "tweedie" if sampling.get("noise_removal", True) else "none"}
    solver = method(sampling, process)
    # Langevin dynamics alone takes its steps at the noise levels themselves.
    grid = {"grid": "published"} if sampling.get("predictor") in ALONE else {}
    return {"solver": solver} | grid | final


def _predictor_corrector(sampling: Mapping[str, Any], process: Config) -> Config:
    usual = process["solver"]
    predictor = choose(PREDICTORS, sampling.get("predictor", usual[0]), "sampling.predictor")
    corrector = choose(CORRECTORS, sampling.get("corrector", usual[1]), "sampling.corrector")
    solver = pc(predictor, {"name": corrector})
    if corrector in NUMBERED:
        solver["corrector"] |= {
            "snr": float(sampling.get("snr", 0.16)),
            "num_steps": int(sampling.get("n_steps_each", 1)),
        }
    if sampling.get("probability_flow") and predictor in FLOWING:
        solver["predictor"]["probability_flow"] = True
    return solver


NUMBERED = {"langevin", "annealed_langevin"}
ALONE = {"none"}  # predictors beside a corrector that takes all steps
FLOWING = {"euler_maruyama", "reverse_diffusion"}
METHODS: dict[str, Callable[[Mapping[str, Any], Config], Config]] = {
    "pc": _predictor_corrector,
    "ode": lambda sampling, process: {"name": "ode"},
}
