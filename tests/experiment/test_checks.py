"""A config that cannot work is refused with the name of the field; those shipped can all work."""

import dataclasses
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import pytest

from configs import cifar10
from experiment import builders, checks
from tasks.classifier import ClassifierTask
from tasks.image import ImageTask
from tasks.task import Context

ROOT = pathlib.Path(__file__).parent.parent.parent
CONFIGS = sorted(
    path
    for path in (ROOT / "configs").rglob("*.py")
    if "def get_config()" in path.read_text() and path.name != "saved.py"
)


def load(path: pathlib.Path):
    spec = importlib.util.spec_from_file_location("a_config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config().lock()


def refusal(name: str, overrides: dict, devices: int = 1) -> str:
    """The one sentence that a shipped config with these fields changed is refused with."""
    config = load(ROOT / "configs" / f"{name}.py")
    config.update_from_flattened_dict(overrides)
    with pytest.raises(ValueError) as refused:
        checks.check(config, devices)
    message = str(refused.value)
    assert "\n" not in message
    return message


VARIANCE, UP = "digits/learned_variance", "emoji/up_16"
CLASSIFIER, FLOW = "digits/classifier", "digits/flow"
NAN, INF, PICARD = float("nan"), float("inf"), {"sampling.solver": "picard"}
EMOJI = "emoji/vp"
DIGITS, VE, VP = "digits/vp_small", "ve/cifar10_ncsnpp", "vp/cifar10_ddpmpp"
SUBVP, DDPM, FOLDER = "subvp/cifar10_ddpmpp", "vp/cifar10_ddpm_discrete", "folder_64"
# (config, what is changed, the field that the refusal names)
BAD = [
    (DIGITS, {"data.name": "digitz"}, "data.name"),
    (DIGITS, {"data.image_size": 0}, "data.image_size"),
    (DIGITS, {"data.num_channels": 0}, "data.num_channels"),
    (DIGITS, {"data.num_channels": 3}, "data.num_channels"),
    (FOLDER, {"data.num_channels": 2}, "data.num_channels"),
    (DIGITS, {"data.num_classes": -1}, "data.num_classes"),
    (DIGITS, {"data.num_classes": 7}, "data.num_classes"),
    (DIGITS, {"data.name": "emoji"}, "data.num_channels: got 1, but the emoji have 3"),
    (EMOJI, {"data.num_channels": 1}, "data.num_channels: got 1, but the emoji have 3"),
    (EMOJI, {"data.num_classes": 10}, "data.num_classes: got 10, but the emoji have 9"),
    (EMOJI, {"data.name": "npz"}, "data.path"),
    (FOLDER, {"data.path": ""}, "data.path"),
    (DIGITS, {"seed": -1}, "seed: got -1"),
    (DIGITS, {"control.seed": -1}, "control.seed: got -1"),
    (DIGITS, {"sampling.seed": -1}, "sampling.seed: got -1"),
    (DIGITS, {"optim.lr": NAN}, "optim.lr: got nan, expected a finite number"),
    (DIGITS, {"optim.grad_clip": INF}, "optim.grad_clip: got inf, expected a finite number"),
    (DIGITS, {"loss.time_mean": NAN}, "loss.time_mean: got nan"),
    (DIGITS, {"sampling.s_max": NAN}, "sampling.s_max: got nan"),
    (FLOW, {"parameterization.output": "noise"}, "parameterization.output: got 'noise'"),
    (FLOW, {"parameterization.output": "edm"}, "parameterization.output: got 'edm'"),
    (FLOW, {"sampling.solver": "adaptive_sde"}, "sampling.t_start: the SDE of FlowMatching is"),
    (DIGITS, {"sampling.solver": "ode", "sampling.end_clean": True}, "sampling.end_clean: the"),
    (DIGITS, {"sampling.solver": "ode", "control.repeats": 2}, "control.repeats: AdaptiveODE"),
    (DIGITS, PICARD | {"sampling.inner": "dpm"}, "sampling.inner: got DPMSolverPP, which"),
    (DIGITS, PICARD | {"sampling.inner": "picard"}, "sampling.inner: got 'picard', expected a"),
    (DIGITS, PICARD | {"sampling.inner": "ode"}, "sampling.inner: got 'ode', expected a solver of"),
    (DIGITS, PICARD | {"sampling.inner": "ddom"}, "sampling.inner: got 'ddom', expected one of"),
    (DIGITS, {"control.task": "edit", "control.t": 1.5}, "control.t: got 1.5"),
    (DIGITS, {"control.task": "edit", "control.t": 1e-3}, "control.t: got 0.001"),
    (VE, {"data.path": ""}, "data.path"),
    (VE, {"data.crop": "middle"}, "data.crop"),
    (VE, {"data.augment": 0.1, "data.random_flip": True}, "data.random_flip"),
    (VE, {"data.augment": 1.5, "data.random_flip": False}, "data.augment"),
    (VE, {"process.name": "vpsde"}, "process.name"),
    (VE, {"process.sigma_min": 50.0}, "process.sigma_min"),
    (VE, {"process.sigma_min": 0.0}, "process.sigma_min"),
    (VE, {"process.sigma_max": -1.0}, "process.sigma_m"),
    (VP, {"process.beta_min": 0.0}, "process.beta_min"),
    (VP, {"process.beta_min": 21.0}, "process.beta_min"),
    (SUBVP, {"process.beta_max": 0.05}, "process.beta_min"),
    (VE, {"process.t_min": -0.1}, "process.t_min"),
    (VE, {"process.t_min": 1.0}, "process.t_min"),
    (VP, {"process.t_min": 0.0}, "process.t_min"),
    (DDPM, {"process.num_steps": 1}, "process.num_steps"),
    (DDPM, {"process.num_steps": 6}, "process.beta_max"),
    (VP, {"parameterization.output": "epsilon"}, "parameterization.output"),
    (VP, {"parameterization.c_noise": "sigma"}, "parameterization.c_noise"),
    (VP, {"parameterization.c_noise": "log_sigma"}, "parameterization.c_noise"),
    (
        VP,
        {"parameterization.output": "edm", "parameterization.sigma_data": 0.0},
        "parameterization.sigma_data",
    ),
    (VP, {"parameterization.time_scale": 0.0}, "parameterization.time_scale"),
    (VE, {"parameterization.c_noise": "time"}, "parameterization.c_noise"),
    (VP, {"parameterization.centre_input": True}, "parameterization.centre_input"),
    (VE, {"parameterization.output": "edm"}, "parameterization.centre_input"),
    (VE, {"model.name": "unet"}, "model.name"),
    (VE, {"model.nf": 0}, "model.nf"),
    (VE, {"model.ch_mult": ()}, "model.ch_mult"),
    (VE, {"model.num_res_blocks": 0}, "model.num_res_blocks"),
    (VE, {"model.dropout": 1.0}, "model.dropout"),
    (VE, {"model.embedding_type": "sine"}, "model.embedding_type"),
    (VE, {"model.progressive_input": "skip"}, "model.progressive_input"),
    (VE, {"data.image_size": 36}, "model.ch_mult"),
    (VP, {"data.image_size": 30}, "model.ch_mult"),
    (DIGITS, {"model.patch_size": 3}, "model.ch_mult"),
    (DIGITS, {"data.resize": "nearest"}, "data.resize"),
    (DIGITS, {"data.low_size": -7}, "data.low_size"),
    (DIGITS, {"data.low_size": 5}, "data.low_size: got 5, expected a proper divisor"),
    (DIGITS, {"data.low_size": 28}, "data.low_size: got 28, expected a proper divisor"),
    (UP, {"data.low_level": 0.0}, "data.low_level: got 0.0"),
    (UP, {"sampling.low_level": 0.7}, "sampling.low_level: got 0.7, expected a level in [0, 0.5]"),
    (UP, {"eval.likelihood": True}, "eval.likelihood: got True, expected False for an upsampler"),
    (VE, {"loss.weighting": "uniform"}, "loss.weighting"),
    (VE, {"loss.reduction": "sum"}, "loss.reduction"),
    (VE, {"loss.times": "log_normal"}, "loss.times"),
    (DIGITS, {"loss.times": "lognormal", "loss.time_std": 0.0}, "loss.time_std"),
    (DIGITS, {"loss.times": "logit_normal", "loss.time_std": -1.0}, "loss.time_std"),
    (DIGITS, {"loss.coupling": "transport"}, "loss.coupling"),
    (VARIANCE, {"loss.vlb_steps": 1}, "loss.vlb_steps"),
    (VARIANCE, {"loss.vlb_weight": 0.0}, "loss.vlb_weight"),
    (VE, {"loss.label_dropout": 0.1}, "loss.label_dropout"),
    (DIGITS, {"loss.label_dropout": 1.0}, "loss.label_dropout"),
    (VE, {"optim.lr": 0.0}, "optim.lr"),
    (VE, {"optim.b1": 1.0}, "optim.b1"),
    (VE, {"optim.b2": -0.1}, "optim.b2"),
    (VE, {"optim.eps": 0.0}, "optim.eps"),
    (VE, {"optim.warmup": -1}, "optim.warmup"),
    (VE, {"optim.grad_clip": -1.0}, "optim.grad_clip"),
    (VE, {"optim.weight_decay": -1.0}, "optim.weight_decay"),
    (VE, {"optim.decay": "linear"}, "optim.decay"),
    (DIGITS, {"optim.decay": "cosine", "training.steps": 50}, "optim.warmup"),
    (VE, {"ema.decay": 1.0}, "ema.decay"),
    (VE, {"training.steps": 0}, "training.steps"),
    (VE, {"training.batch_size": 0}, "training.batch_size"),
    (VE, {"training.microbatch": "most"}, "training.microbatch"),
    (VE, {"training.microbatch": "0"}, "training.microbatch"),
    (VE, {"training.microbatch": "7"}, "training.microbatch"),
    (VE, {"training.strategy": "ddp"}, "training.strategy"),
    (VE, {"training.n_jitted_steps": 0}, "training.n_jitted_steps"),
    (VE, {"training.n_jitted_steps": 3}, "training.log_every"),
    (VE, {"training.keep": 0}, "training.keep"),
    (VE, {"training.keep_every": -1}, "training.keep_every"),
    (VE, {"training.max_seconds": -1.0}, "training.max_seconds"),
    (VE, {"training.device_memory": -1}, "training.device_memory"),
    (VE, {"sampling.predictor": "euler"}, "sampling.predictor"),
    (VE, {"sampling.corrector": "langevinn"}, "sampling.corrector"),
    (VE, {"sampling.predictor": "none", "sampling.corrector": "none"}, "sampling"),
    (VE, {"sampling.corrector_steps": -1}, "sampling.corrector_steps"),
    (VE, {"sampling.snr": 0.0}, "sampling.snr"),
    (VE, {"sampling.num_steps": 0}, "sampling.num_steps"),
    (VE, {"sampling.grid": "karras"}, "sampling.grid"),
    (VE, {"sampling.grid": "published"}, "sampling.faithful"),
    (VE, {"sampling.faithful": True}, "sampling.faithful"),
    (VE, {"sampling.t_end": -1.0}, "sampling.t_end"),
    (VE, {"sampling.t_end": 1.0}, "sampling.t_end"),
    (VE, {"sampling.t_end": 1e-6}, "sampling.t_end"),
    (VE, {"sampling.denoise": "yes"}, "sampling.denoise"),
    (VE, {"sampling.variance": "medium"}, "sampling.variance"),
    (
        DIGITS,
        {"sampling.variance": "learned"},
        "sampling.variance: got 'learned', but parameterization.learned_variance",
    ),
    (VE, {"sampling.num_samples": 0}, "sampling.num_samples"),
    (VE, {"sampling.batch_size": 0}, "sampling.batch_size"),
    (VE, {"sampling.labels": "3"}, "sampling.labels"),
    (DIGITS, {"sampling.labels": "three"}, "sampling.labels"),
    (DIGITS, {"sampling.labels": "10"}, "sampling.labels"),
    (
        VE,
        {"sampling.predictor": "ancestral", "sampling.probability_flow": True},
        "sampling.probability_flow",
    ),
    (
        SUBVP,
        {
            "sampling.predictor": "reverse_diffusion",
            "sampling.grid": "published",
            "sampling.faithful": True,
        },
        "sampling.faithful",
    ),
    (
        DDPM,
        {
            "sampling.predictor": "ancestral",
            "sampling.grid": "published",
            "sampling.faithful": True,
            "sampling.num_steps": 10,
        },
        "sampling.faithful",
    ),
    (DIGITS, {"task": "classify"}, "task: got 'classify', expected one of ['image', 'classifier']"),
    (DIGITS, {"guidance.strategy": "fre"}, "guidance.strategy: got 'fre', expected one of"),
    (DIGITS, {"guidance.strategy": "free", "guidance.scale": -1.0}, "guidance.scale: got -1.0"),
    (DIGITS, {"guidance.strategy": "automatic"}, "guidance.classifier: got nothing"),
    (VE, {"guidance.strategy": "free"}, "guidance.strategy: got 'free', but the model has no"),
    (
        DIGITS,
        {"guidance.strategy": "free", "loss.label_dropout": 0.0},
        "guidance.strategy: got 'free', but the model was trained with a class for every image",
    ),
    (
        DIGITS,
        {"guidance.strategy": "free", "guidance.low": 2.0, "guidance.high": 1.0},
        "guidance.low: got 2.0, expected less than high = 1.0",
    ),
    (DIGITS, {"task": "classifier"}, "loss.label_dropout: got 0.1, but task = 'classifier'"),
    (CLASSIFIER, {"task": "image"}, "model.name: got 'wide_resnet'"),
    (CLASSIFIER, {"data.num_classes": 0}, "data.num_classes: got 0, but a classifier needs 2"),
    (CLASSIFIER, {"data.num_classes": 7}, "data.num_classes: got 7"),
    (CLASSIFIER, {"data.low_size": 14}, "data.low_size: got 14, but task = 'classifier'"),
    (CLASSIFIER, {"parameterization.learned_variance": True}, "parameterization.learned_variance"),
    (CLASSIFIER, {"parameterization.centre_input": True}, "parameterization.centre_input"),
    (CLASSIFIER, {"parameterization.c_noise": "sigma"}, "parameterization.c_noise"),
    (CLASSIFIER, {"model.name": "ncsnpp"}, "model.name: got 'ncsnpp', expected one of ['resnet'"),
    (CLASSIFIER, {"model.ch_mult": (1, 2, 4)}, "model.ch_mult: got 3 levels"),
    (CLASSIFIER, {"model.ch_mult": (2, 1)}, "model.ch_mult: got widths"),
    (CLASSIFIER, {"loss.label_smoothing": 1.0}, "loss.label_smoothing: got 1.0"),
    (CLASSIFIER, {"loss.times": "log_snr"}, "loss.times"),
    (CLASSIFIER, {"process.beta_min": 0.0}, "process.beta_min"),
    (CLASSIFIER, {"eval.levels": 0}, "eval.levels: got 0"),
    (CLASSIFIER, {"eval.checkpoints": "last"}, "eval.checkpoints"),
    (VE, {"eval.checkpoints": "last"}, "eval.checkpoints"),
    (VE, {"eval.batch_size": 0}, "eval.batch_size"),
    (VE, {"eval.num_samples": 1}, "eval.num_samples"),
    (VE, {"eval.max_images": -1}, "eval.max_images"),
    (VE, {"eval.extractor": "inception_v9"}, "eval.extractor"),
    (VE, {"eval.probe": "uniform"}, "eval.probe"),
    (VE, {"eval.num_probes": 0}, "eval.num_probes"),
    (VE, {"eval.rtol": 0.0}, "eval.rtol"),
    (VE, {"eval.atol": -1.0}, "eval.atol"),
]


def label(overrides: dict) -> str:
    return ",".join(f"{field}={value}" for field, value in overrides.items())


@pytest.mark.parametrize(
    ("name", "overrides", "field"), BAD, ids=[f"{bad[0]}:{label(bad[1])}" for bad in BAD]
)
def test_a_bad_field_is_named(name, overrides, field):
    assert refusal(name, overrides).startswith(field)


def test_picard_takes_any_solver_of_fixed_steps():
    config = load(ROOT / "configs" / f"{DIGITS}.py")
    inner = builders.solver(config)
    config.update_from_flattened_dict(PICARD | {"sampling.inner": config.sampling.solver})
    checks.check(config, 1)
    assert builders.solver(config).solver == inner


def test_the_batch_must_divide_among_the_devices():
    assert refusal(VE, {"training.batch_size": 126}, 4).startswith("training.batch_size: got 126")
    # 32 on each device
    assert refusal(VE, {"training.microbatch": "64"}, 4).startswith("training.microbatch: got 64")


def test_a_field_that_the_network_lacks_is_named_with_the_nearest():
    config = load(ROOT / "configs" / f"{DIGITS}.py")
    with config.unlocked():
        config.model.attn_resolution = (7,)
    with pytest.raises(
        ValueError, match="model.attn_resolution: .* did you mean 'attn_resolutions'"
    ):
        checks.check(config, 1)


def test_one_process_after_another_leaves_nothing_of_the_first():
    """`use_ve` and `use_vp` on a config that had the other; what only one process reads stays."""

    def made(*uses):
        config = cifar10.get_cifar10_config()
        for use in uses:
            use(config)
        checks.check(config, 1)
        fields = config.to_dict()
        del fields["process"]
        for section, name in (("model", "fourier_scale"), ("sampling", "snr")):
            fields[section].pop(name, None)
        return fields

    assert made(cifar10.use_ve, cifar10.use_vp) == made(cifar10.use_vp)
    assert made(cifar10.use_vp, cifar10.use_ve) == made(cifar10.use_ve)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_a_shipped_config_works(path):
    """It passes the checks, and its task can be traced: parameters, and the loss of a batch.

    Traced with one block a level, as all blocks of a level are alike; the whole networks are built
    by the tests of their numbers of parameters.
    """
    config = load(path)
    checks.check(config, 1)
    config.model.num_res_blocks = 1
    # The scale of a process changes nothing in the trace.
    trace(type(builders.process(config)), builders.task(config), builders.image_shape(config))


TRACED: set[str] = set()


def trace(process: type, task: ImageTask | ClassifierTask, shape: tuple[int, ...]) -> None:
    fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    key = repr((process, {**fields, "process": None, "sampler": None}))
    if key in TRACED:
        return
    TRACED.add(key)
    params = jax.eval_shape(task.init, jax.random.key(0))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    batch = {
        "image": jax.ShapeDtypeStruct((2, *shape), jnp.float32),
        "label": jax.ShapeDtypeStruct((2,), jnp.int32),
    }
    keys = jax.random.split(jax.random.key(0), 2)
    loss, metrics = jax.eval_shape(task.loss, Context(params), batch, keys)
    assert (loss.shape, loss.dtype) == ((), jnp.float32)
    assert metrics["loss"].shape == metrics["level"].shape == (2,)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_the_header_of_a_config_says_how_it_is_run_and_what_it_reaches(path):
    header = path.read_text().split('"""')[1]
    assert f"--config configs/{path.relative_to(ROOT / 'configs')}" in header.replace("=", " ")
    assert "Result" in header
