"""A config that cannot work is refused with the name of the field; those shipped can all work."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from line_images import write_lines
from PIL import Image

from configs import cifar10
from experiment import kinds
from experiment.experiment import Experiment
from options.errors import UserError
from options.fields import flat
from tasks.task import Context

ROOT = pathlib.Path(__file__).parent.parent.parent
CONFIGS = sorted(
    path for path in (ROOT / "configs").rglob("*.py") if "def get_config()" in path.read_text()
)


def load(name: str, overrides: dict | None = None) -> Experiment:
    return kinds.open_experiment(ROOT / "configs" / f"{name}.py", overrides)


def refusal(name: str, overrides: dict, devices: int = 1) -> str:
    """The one sentence that a shipped config with these fields changed is refused with."""
    with pytest.raises(UserError) as refused:
        load(name, overrides).check_all(devices)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_what_is_infinite_by_default_may_be_so_in_what_is_chosen():
    """The guidance interval has no upper end unless one is given."""
    load("digits/vp_small", {"guidance.strategy": "free"}).check_all(1)


VARIANCE, UP = "digits/learned_variance", "emoji/up_16"
CLASSIFIER, FLOW = "digits/classifier", "digits/flow"
NAN, INF = float("nan"), float("inf")
EMOJI = "emoji/vp"
DIGITS, VE, VP = "digits/vp_small", "ve/cifar10_ncsnpp", "vp/cifar10_ddpmpp"
SUBVP, DDPM, FOLDER = "subvp/cifar10_ddpmpp", "vp/cifar10_ddpm_discrete", "folder_64"
SOLVER, PREDICTOR = "sampling.solver", "sampling.solver.predictor"
PICARD = {SOLVER: "picard"}
FREE = {"guidance.strategy": "free"}
# (config, what is changed, the field that the refusal names)
BAD = [
    (DIGITS, {"data.source": "digitz"}, "data.source"),
    (DIGITS, {"data.image_size": (0, 0)}, "data.image_size"),
    (DIGITS, {"data.image_size": (28, 28, 28)}, "data.image_size"),
    (DIGITS, {"data.image_size": (28.5,)}, "data.image_size"),
    (DIGITS, {"data.num_channels": -1}, "data.num_channels"),
    (DIGITS, {"data.num_channels": 3}, "data.num_channels"),
    (DIGITS, {"conditions.labels.num_classes": -1}, "conditions.labels.num_classes"),
    (DIGITS, {"conditions.labels.num_classes": 7}, "conditions.labels.num_classes"),
    (DIGITS, {"data.source": "emoji"}, "data.num_channels: got 1, but the emoji have 3"),
    (EMOJI, {"data.num_channels": 1}, "data.num_channels: got 1, but the emoji have 3"),
    (EMOJI, {"conditions.labels.num_classes": 10}, "conditions.labels.num_classes: got 10, but"),
    (EMOJI, {"data.source": "npz"}, "data.source.path"),
    (FOLDER, {"data.source.path": ""}, "data.source.path"),
    (DIGITS, {"seed": -1}, "seed: got -1"),
    (DIGITS, {"seed": 2**64}, "seed: got 18446744073709551616"),
    (DIGITS, {"control.seed": -1}, "control.seed: got -1"),
    (DIGITS, {"sampling.seed": -1}, "sampling.seed: got -1"),
    (DIGITS, {"optim.lr": NAN}, "optim.lr: got nan"),
    (DIGITS, {"optim.grad_clip": INF}, "optim.grad_clip: got inf, expected a finite number"),
    (DIGITS, {"loss.times": "lognormal", "loss.times.mean": NAN}, "loss.times.mean: got nan"),
    (DIGITS, {SOLVER: "stochastic_heun", "sampling.solver.s_max": NAN}, "sampling.solver.s_max: g"),
    (FLOW, {"parameterization.output": "noise"}, "parameterization.output: got 'noise'"),
    (FLOW, {"parameterization.output": "edm"}, "parameterization.output: got 'edm'"),
    (FLOW, {SOLVER: "adaptive_sde"}, "sampling.t_start: the SDE of FlowMatching is"),
    (DIGITS, {SOLVER: "ode", "sampling.end_clean": True}, "sampling.end_clean: the"),
    (DIGITS, {SOLVER: "ode", "control.repeats": 2}, "control.repeats"),
    (DIGITS, PICARD | {"sampling.solver.solver": "dpm"}, "sampling.solver.solver: got DPMSolverPP"),
    (DIGITS, PICARD | {"sampling.solver.solver": "picard"}, "sampling.solver.solver: got 'picard'"),
    (DIGITS, PICARD | {"sampling.solver.solver": "ode"}, "sampling.solver.solver: got 'ode'"),
    (DIGITS, PICARD | {"sampling.solver.solver": "ddom"}, "sampling.solver.solver: got 'ddom', ex"),
    (DIGITS, {"control.task": "edit", "control.task.t": 1.5}, "control.task.t: got 1.5"),
    (DIGITS, {"control.task": "edit", "control.task.t": 1e-3}, "control.task.t: got 0.001"),
    (DIGITS, {"control.task": "colorize"}, "control.task: 'colorize' needs 3 channels"),
    (DIGITS, {"control.task": "upscale"}, "control.task: 'upscale' needs the weights of an ups"),
    (DIGITS, {"control.task.mask": "bix"}, "control.task.mask: got 'bix', expected one of"),
    (DIGITS, {"control.task": "restore", "control.task.sigma_y": -1.0}, "control.task.sigma_y"),
    (VE, {"data.source.path": ""}, "data.source.path"),
    (VE, {"data.crop": "middle"}, "data.crop"),
    (VE, {"data.augment": 0.1, "data.random_flip": True}, "data.random_flip"),
    (VE, {"data.augment": 1.5, "data.random_flip": False}, "data.augment"),
    (VE, {"process": "vpsde"}, "process: got 'vpsde', expected one of"),
    (VE, {"process.sigma_min": 50.0}, "process.sigma_min"),
    (VE, {"process.sigma_min": 0.0}, "process.sigma_min"),
    (VE, {"process.sigma_max": -1.0}, "process.sigma_m"),
    (VE, {"process.beta_max": 1.0}, "process.beta_max: got 1.0, but the configuration has no such"),
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
    (VE, {"parameterization.c_noise": "time"}, "parameterization.c_noise"),
    (
        VP,
        {"parameterization.output": "edm", "parameterization.output.sigma_data": 0.0},
        "parameterization.output.sigma_data",
    ),
    (VP, {"parameterization.centre_input": True}, "parameterization.centre_input"),
    (VE, {"parameterization.output": "edm"}, "parameterization.centre_input"),
    (VE, {"model": "unet"}, "model: got 'unet', expected one of"),
    (VE, {"model.nf": 0}, "model.nf"),
    (VE, {"model.ch_mult": ()}, "model.ch_mult"),
    (VE, {"model.num_res_blocks": 0}, "model.num_res_blocks"),
    (VE, {"model.dropout": 1.0}, "model.dropout"),
    (VE, {"model.embedding_type": "sine"}, "model.embedding_type"),
    (VE, {"model.progressive_input": "skip"}, "model.progressive_input"),
    (VE, {"data.image_size": (36, 36)}, "model.ch_mult"),
    (VP, {"data.image_size": (30, 30)}, "model.ch_mult"),
    (VP, {"data.image_size": (32, 30)}, "model.ch_mult"),
    (DIGITS, {"model.patch_size": 3}, "model.ch_mult"),
    (DIGITS, {"data.resize": "nearest"}, "data.resize"),
    (DIGITS, {"conditions.low.size": -7}, "conditions.low.size"),
    (DIGITS, {"conditions.low.size": 5}, "conditions.low.size: got 5, expected a proper divisor"),
    (DIGITS, {"conditions.low.size": 28}, "conditions.low.size: got 28, expected a proper divisor"),
    (UP, {"conditions.low.max_level": 0.0}, "conditions.low.max_level: got 0.0"),
    (UP, {"sampling.low_level": 0.7}, "sampling.low_level: got 0.7, expected a level in [0, 0.5]"),
    (UP, {"eval.likelihood": True}, "eval.likelihood: got True, but given the means"),
    (VE, {"loss.weighting": "uniform"}, "loss.weighting"),
    (VE, {"loss.reduction": "sum"}, "loss.reduction"),
    (VE, {"loss.times": "log_normal"}, "loss.times"),
    (DIGITS, {"loss.times": "lognormal", "loss.times.std": 0.0}, "loss.times.std"),
    (DIGITS, {"loss.times": "logit_normal", "loss.times.std": -1.0}, "loss.times.std"),
    (DIGITS, {"loss.coupling": "transport"}, "loss.coupling"),
    (VARIANCE, {"loss.bound.num_steps": 1}, "loss.bound.num_steps"),
    (VARIANCE, {"loss.bound.weight": 0.0}, "loss.bound.weight"),
    (DIGITS, {"conditions.labels.dropout": 1.0}, "conditions.labels.dropout"),
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
    (VE, {PREDICTOR: "euler"}, PREDICTOR),
    (VE, {"sampling.solver.corrector": "langevinn"}, "sampling.solver.corrector"),
    (VE, {PREDICTOR: "none", "sampling.solver.corrector": "none"}, "sampling"),
    (VE, {"sampling.solver.corrector.num_steps": -1}, "sampling.solver.corrector.num_steps"),
    (VE, {"sampling.solver.corrector.snr": 0.0}, "sampling.solver.corrector.snr"),
    (
        VE,
        {"sampling.solver.eta": 1.0},
        "sampling.solver.eta: got 1.0, but the configuration has no",
    ),
    (VE, {"sampling.num_steps": 0}, "sampling.num_steps"),
    (VE, {"sampling.grid": "karras"}, "sampling.grid"),
    (VE, {f"{PREDICTOR}.faithful": 100}, "sampling.solver"),
    (VE, {"sampling.t_end": -1.0}, "sampling.t_end"),
    (VE, {"sampling.t_end": 1.0}, "sampling.t_end"),
    (VE, {"sampling.t_end": 1e-6}, "sampling.t_end"),
    (VE, {"sampling.denoise": "yes"}, "sampling.denoise"),
    (VE, {PREDICTOR: "ancestral", f"{PREDICTOR}.variance": "medium"}, f"{PREDICTOR}.variance"),
    (
        DIGITS,
        {f"{PREDICTOR}.variance": "learned"},
        f"{PREDICTOR}.variance: got 'learned', but parameterization.learned_variance",
    ),
    (VE, {"sampling.num_samples": 0}, "sampling.num_samples"),
    (VE, {"sampling.batch_size": 0}, "sampling.batch_size"),
    (VE, {"sampling.labels": "3"}, "sampling.labels"),
    (DIGITS, {"sampling.labels": "three"}, "sampling.labels"),
    (DIGITS, {"sampling.labels": "10"}, "sampling.labels"),
    (
        VE,
        {PREDICTOR: "ancestral", f"{PREDICTOR}.probability_flow": True},
        f"{PREDICTOR}.probability_flow",
    ),
    (
        DDPM,
        {PREDICTOR: "ancestral", f"{PREDICTOR}.faithful": 10, "sampling.num_steps": 10},
        "sampling",
    ),
    (
        DIGITS,
        {"task": "classify"},
        f"task: got 'classify', expected one of {sorted(kinds.KINDS)}; did you mean 'classifier'",
    ),
    (DIGITS, {"guidance.strategy": "fre"}, "guidance.strategy: got 'fre', expected one of"),
    (DIGITS, FREE | {"guidance.strategy.scale": -1.0}, "guidance.strategy.scale: got -1.0"),
    (DIGITS, {"guidance.strategy": "automatic"}, "guidance.classifier: got ''"),
    (VE, FREE, "conditions: got [], expected one with a positive dropout"),
    (
        DIGITS,
        FREE | {"conditions.labels.dropout": 0.0},
        "conditions.labels.dropout: got 0.0, expected a positive rate in training",
    ),
    (
        DIGITS,
        FREE | {"guidance.strategy.low": 2.0, "guidance.strategy.high": 1.0},
        "guidance.strategy.low: got 2.0, expected less than high = 1.0",
    ),
    (DIGITS, {"task": "classifier"}, "conditions: ClassifierSettings has no such field"),
    (CLASSIFIER, {"task": "image"}, "model: got 'wide_resnet'"),
    (CLASSIFIER, {"model.num_classes": 0}, "model.num_classes: got 0, expected at least 2"),
    (CLASSIFIER, {"model.num_classes": 7}, "model.num_classes: got 7"),
    (CLASSIFIER, {"parameterization.c_noise": "sigma"}, "parameterization.c_noise"),
    (CLASSIFIER, {"model": "ncsnpp"}, "model: got 'ncsnpp', expected one of ['resnet'"),
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


COUNTED = [
    (DIGITS, PICARD),
    (DIGITS, {SOLVER: "stochastic_heun", f"{SOLVER}.s_max": 80.0}),
    (DDPM, {}),
    (VARIANCE, {}),
    (CLASSIFIER, {}),
    (FLOW, {}),
]


@pytest.mark.parametrize(("name", "changes"), COUNTED)
def test_every_whole_number_has_an_upper_limit(name, changes):
    config = kinds.load(ROOT / "configs" / f"{name}.py", changes)
    counts = [field for field, value in flat(config).items() if type(value) is int]
    assert len(counts) > 20
    for field in counts:
        of, _, last = field.rpartition(".")
        place = SOLVER if of.startswith(SOLVER) else of  # a solver does not name its parts
        with pytest.raises(UserError, match=rf"^{place}.*\b{last}: got 1{'0' * 23}, "):
            load(name, changes | {field: 10**23}).check_all(1)


@pytest.mark.parametrize(
    ("name", "overrides", "field"), BAD, ids=[f"{bad[0]}:{label(bad[1])}" for bad in BAD]
)
def test_a_bad_field_is_named(name, overrides, field):
    assert refusal(name, overrides).startswith(field)


@pytest.mark.parametrize("inner", ["ddim", "heun", "euler"])
def test_picard_takes_any_solver_of_fixed_steps(inner):
    made = load(DIGITS, PICARD | {"sampling.solver.solver": inner})
    made.check_all(1)
    assert made.sampler.solver.solver == load(DIGITS, {SOLVER: inner}).sampler.solver


def test_the_batch_must_divide_among_the_devices():
    assert refusal(VE, {"training.batch_size": 126}, 4).startswith("training.batch_size: got 126")
    # 32 on each device
    assert refusal(VE, {"training.microbatch": "24"}, 4).startswith("training.microbatch: got 24")


def test_a_field_that_the_network_lacks_is_named_with_the_nearest():
    with pytest.raises(UserError, match="model.attn_resolution: .* did you mean 'attn_resol"):
        kinds.complete({"model": {"name": "ncsnpp", "attn_resolution": (7,)}})


def test_what_could_not_be_set_can_be():
    made = load(DIGITS, {"process": "cosine", "process.offset": 0.01, "process.t_max": 0.9})
    assert (made.process.offset, made.process.t_max) == (0.01, 0.9)
    assert load(DIGITS, {"process": "edm"}).process.t_min == 0.002  # the class's own


def test_one_process_after_another_leaves_nothing_of_the_first():
    """`use_ve` and `use_vp` on a config that had the other; what only one process reads stays."""

    def made(*uses):
        config = cifar10.get_cifar10_config()
        for use in uses:
            use(config)
        complete = kinds.complete(config.to_dict()).to_dict()
        complete["model"].pop("fourier_scale")
        return complete

    assert made(cifar10.use_ve, cifar10.use_vp) == made(cifar10.use_vp)
    assert made(cifar10.use_vp, cifar10.use_ve) == made(cifar10.use_ve)


def test_every_part_is_built_once():
    made = load(EMOJI)
    for part in (
        "task",
        "sampler",
        "generator",
        "preview",
        "network",
        "grid",
        "transform",
        "training",
    ):
        assert getattr(made, part) is getattr(made, part), part
    assert made.task.sampler.generator is made.preview
    assert made.generator.sampler is made.sampler and made.sampler.grid is made.grid
    assert made.sampler.process is made.task.process is made.process


@pytest.fixture
def _images_at_home(tmp_path, monkeypatch):
    """Where configurations for folders look for them, since some leave their size to them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 32)).save(tmp_path / "images" / "1.png")
    write_lines(tmp_path / "lines.npz")


@pytest.mark.one_in(16)
@pytest.mark.usefixtures("_images_at_home")
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_a_shipped_config_works(path):
    """It passes the checks, and its task can be traced: parameters, and the loss of a batch.

    Traced with one block a level, as all blocks of a level are alike; the whole networks are built
    by the tests of their numbers of parameters.
    """
    kinds.open_experiment(path).check_all(1)
    made = kinds.open_experiment(path)
    blocks = made.config.model.get("num_res_blocks", 0)
    one = [1] * len(blocks) if hasattr(blocks, "__len__") else 1  # of levels, or of each
    trace(kinds.open_experiment(path, {"model.num_res_blocks": one} if blocks else {}))


TRACED: set[str] = set()


def trace(made: Experiment) -> None:
    task = made.task
    fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    # The scale of a process changes nothing in the trace.
    key = repr((type(getattr(made, "process", None)), {**fields, "process": None, "sampler": None}))
    if key in TRACED:
        return
    TRACED.add(key)
    params = jax.eval_shape(task.init, jax.random.key(0))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    movements = len(made.shape) == 2 and made.writes  # which come with the pen
    channels = 3 if movements else made.shape[-1]
    batch = {
        "image": jax.ShapeDtypeStruct((2, *made.shape[:-1], channels), jnp.float32),
        "label": jax.ShapeDtypeStruct((2,), jnp.int32),
        "augment": jax.ShapeDtypeStruct((2, 9), jnp.float32),
    }
    if made.writes:
        mask = made.medium.mask(np.ones(2, int), made.shape[made.medium.axis])
        batch["mask"] = jax.ShapeDtypeStruct(mask.shape, bool)
        batch["text"] = jax.ShapeDtypeStruct((2, 9), jnp.int32)
        batch["style"] = jax.ShapeDtypeStruct((2, 14, 128), jnp.float32)
    if getattr(made, "captioned", None) is not None:
        vectors = jax.ShapeDtypeStruct((2, 5, 384), jnp.float16)
        batch["caption"] = {"vectors": vectors, "mask": jax.ShapeDtypeStruct((2, 5), bool)}
        batch["text"] = jax.ShapeDtypeStruct((2, 9), jnp.int32)
    keys = jax.random.split(jax.random.key(0), 2)
    context = Context(params, frozen=task.frozen)
    loss, metrics = jax.eval_shape(task.loss, context, batch, keys)
    assert (loss.shape, loss.dtype) == ((), jnp.float32)
    assert metrics["loss"].shape == metrics.get("level", metrics["loss"]).shape == (2,)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_the_header_of_a_config_says_how_it_is_run_and_what_it_reaches(path):
    header = path.read_text().split('"""')[1]
    assert f"--config configs/{path.relative_to(ROOT / 'configs')}" in header.replace("=", " ")
    assert "Result" in header
