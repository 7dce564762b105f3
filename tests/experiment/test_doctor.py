"""Faults that are planted are found by name, each with its cure; what is shipped has none."""

import ast
import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest
from line_images import write_lines
from PIL import Image

from experiment import kinds, modes
from experiment.doctor import CHECKS, prior
from experiment.doctor.examination import chosen, examine, findings_of
from experiment.doctor.finding import Finding, Part, Severity
from experiment.doctor.subject import Request, Subject
from experiment.experiment import Trained
from experiment.modes import Command
from options.errors import InvalidValue
from training.trial import Trial, trial

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = sorted(
    path for path in (ROOT / "configs").rglob("*.py") if "def get_config()" in path.read_text()
)
HERE = {"digits", "emoji", "strokes"}  # sources whose data come with the project
DIGITS, VE, CHURCH = "digits/vp", "ve/cifar10_ncsnpp", "ve/church_256"
SOLVER, PREDICTOR = "sampling.solver", "sampling.solver.predictor"
SHORT = {"training.steps": 200}
VE_DIGITS = {"process": "ve", "data.space.low": 0.0}
# Of a configuration: (check, config, what is changed, part of the cure).
CONFIGURED = [
    ("warmup", DIGITS, SHORT | {"optim.warmup": 500}, "--config.optim.warmup=20"),
    ("ema", DIGITS, SHORT | {"ema.warmup": False}, "--config.ema.warmup=True"),
    ("checkpoints", DIGITS, {"training.checkpoint_every": 0}, "checkpoint_every=275"),
    ("learning_rate", DIGITS, {"optim.lr": 0.1}, "--config.optim.lr=0.0002"),
    ("centring", DIGITS, {"data.space.low": 0.0}, "--config.data.space.low=-1.0"),
    ("centring", VE, {"parameterization.centre_input": False}, "centre_input=True"),
    ("smallest_noise", VE, {"process.sigma_min": 0.5}, "--config.process.sigma_min=0.01"),
    ("num_steps", DIGITS, {PREDICTOR: "euler_maruyama"}, "--config.sampling.num_steps=250"),
    ("num_steps", DIGITS, {SOLVER: "heun", "sampling.num_steps": 4}, "sampling.num_steps=8"),
    ("corrector_on_flow", "digits/flow", {SOLVER: "pc"}, "--config.sampling.solver=heun"),
    ("snr", DIGITS, {f"{SOLVER}.corrector.snr": 2.0}, f"--config.{SOLVER}.corrector.snr=0.16"),
    ("learned_variance", "digits/learned_variance", {SOLVER: "ddim"}, "variance=learned"),
    ("noise_left", DIGITS, {"sampling.denoise": "none", "sampling.t_end": 0.05}, "=tweedie"),
    ("condition_dropout", DIGITS, {"conditions.labels.dropout": 0.9}, "labels.dropout=0.1"),
    (
        "coupling",
        "digits/flow",
        {"loss.coupling": "optimal_transport", "training.microbatch": "8"},
        "--config.training.batch_size=160",
    ),
    ("dequantization", "digits/likelihood", {"data.dequantize": False}, "dequantize=True"),
    ("large_attention", CHURCH, {"model.attn_resolutions": (64, 16)}, '="(16,)"'),
    (
        "large_attention",
        "handwriting/lines",
        {"model.attn_resolutions": (32, 8), "conditions.labels.num_classes": 3},
        '="(8,)"',
    ),
    ("no_attention", DIGITS, {"model.attn_resolutions": (16,)}, '="(7,)"'),
    (
        "refused",
        DIGITS,
        {"guidance.strategy": "free", "conditions.labels.dropout": 0.0},
        "--config.conditions.labels.dropout: a positive rate",
    ),
]
# Of the embedded data.
OF_DIGITS = [
    ("sigma_max", "digits/vp_small", VE_DIGITS | {"process.sigma_max": 2.0}, "sigma_max=1"),
    ("sigma_data", "digits/edm", {"parameterization.output.sigma_data": 0.05}, "sigma_data=0.5"),
    ("overfitting", DIGITS, {"training.steps": 100_000}, "--config.model.dropout=0.1"),
    ("flips", DIGITS, {"data.random_flip": True}, "--config.data.random_flip=False"),
]


def names(part: Part) -> str:
    return ",".join(name for name, check in CHECKS.items() if check.part is part)


def found_in(where, overrides, check, *, checks="", trained=None, examples=48) -> Finding:
    """The one finding of this check."""
    subject = Subject(
        kinds.open_experiment(where, overrides),
        Request(checks or check, examples=examples),
        trained,
    )
    (finding,) = [f for f in examine(subject).findings if f.check == check]
    return finding


def fields_in(cure: str) -> dict:
    """The fields that a cure sets, of its first way where it has several."""
    first = re.split(r", (?:\w+ \w+ \w+, )?or |; ", cure)[0]
    found = re.findall(r'--config\.([\w.]+)=("[^"]*"|[^\s,;]+)', first)
    return {name: literal(value.strip('"')) for name, value in found}


def literal(text: str):
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text


@pytest.mark.parametrize(("check", "where", "changed", "cure"), [*CONFIGURED, *OF_DIGITS])
def test_a_fault_of_a_configuration_is_found_and_cured(check, where, changed, cure):
    asked = check if check in CHECKS else "warmup"
    found = found_in(where, changed, check, checks=asked)
    assert found.severity >= Severity.WARNING and cure in found.cure, found
    after = changed | fields_in(found.cure)
    if after != changed:
        subject = Subject(kinds.open_experiment(where, after), Request(examples=48))
        assert list(findings_of(check, CHECKS[check](), subject)) == []


# Arrays, each of one fault.


def healthy(classes=2, count=48, held_out=8, channels=3):
    """Images that differ, 16 x 16, of classes in turn."""
    random = np.random.default_rng(0)
    draw = lambda n: random.integers(0, 256, (n, 16, 16, channels), np.uint8)  # noqa: E731
    label = lambda n: np.arange(n) % classes  # noqa: E731
    return {
        "train_images": draw(count), "train_labels": label(count), "test_images": draw(held_out),
        "test_labels": label(held_out), "class_names": np.array(["cat", "dog", "owl"][:classes]),
    }  # fmt: skip


def blank(arrays):
    arrays["train_images"][5] = 200


def grey(arrays):
    for name in ("train_images", "test_images"):
        arrays[name][...] = arrays[name][..., :1]


def of_bits(arrays):
    arrays["train_images"] //= 128


def twice(arrays):
    arrays["train_images"][7] = arrays["train_images"][3]


def nearly_twice(arrays):
    arrays["train_images"][7] = arrays["train_images"][3] ^ 1


def trained_on(arrays):
    arrays["test_images"][2] = arrays["train_images"][3]


def imbalanced(arrays):
    arrays["train_labels"][:] = 0
    arrays["train_labels"][:2] = 1


def missing_in_test(arrays):
    arrays["test_labels"][:] = 0


def small_class(arrays):
    arrays["train_labels"][8:] = 0


def without_test(arrays):
    del arrays["test_images"], arrays["test_labels"]


def letters(arrays):
    arrays["class_names"] = np.array(["a", "b"])


def nothing(arrays):
    pass


OF_ARRAYS = [
    ("blank_images", blank, {}, "remove 5"),
    ("grey_as_colour", grey, {}, "images[..., :1]"),
    ("value_range", of_bits, {}, "by 255"),
    ("duplicates", twice, {}, "remove 7"),
    ("near_duplicates", nearly_twice, {}, "keep one"),
    ("overlap", trained_on, {}, "remove 2"),
    ("imbalance", imbalanced, {}, "--config.sampling.labels=dog"),
    ("class_missing", missing_in_test, {}, "add images of dog"),
    ("small_class", small_class, {}, "more images of dog"),
    ("nothing_held_out", without_test, {}, "--config.data.holdout=0.1"),
    ("flips", letters, {"data.random_flip": True}, "random_flip=False"),
    ("enlarged", nothing, {"data.image_size": (32, 32)}, 'image_size="(16, 16)"'),
]


def of_arrays(tmp_path, spoil, changed=()):
    arrays = healthy()
    spoil(arrays)
    np.savez(tmp_path / "set.npz", **arrays)
    return {
        "data.source": "npz", "data.source.path": str(tmp_path / "set.npz"),
        "data.image_size": (16, 16), "data.num_channels": 3, "model.attn_resolutions": (4,),
        "conditions.labels.num_classes": 2, "training.steps": 100, "optim.warmup": 10,
        **dict(changed),
    }  # fmt: skip


@pytest.mark.parametrize(("check", "spoil", "changed", "cure"), OF_ARRAYS)
def test_a_fault_of_the_data_is_found(tmp_path, check, spoil, changed, cure):
    given = of_arrays(tmp_path, spoil, changed)
    found = found_in(DIGITS, given, check)
    assert found.severity >= Severity.WARNING and cure in found.cure, found
    if found.cure.startswith("--config") and "=" in found.cure.split()[0]:
        given |= fields_in(found.cure)
        subject = Subject(kinds.open_experiment(DIGITS, given))
        assert list(findings_of(check, CHECKS[check](), subject)) == []


def test_healthy_data_have_none(tmp_path):
    experiment = kinds.open_experiment(DIGITS, of_arrays(tmp_path, nothing))
    found = examine(Subject(experiment, Request(f"{names(Part.CONFIG)},{names(Part.DATA)}")))
    assert found.findings == () and len(found.checks) == 1 + len(chosen("all")) - 4


def test_numbers_that_are_not_of_unit_scale_are_found(tmp_path):
    data = np.random.default_rng(0).normal(5.0, 30.0, (16, 8, 8, 2)).astype(np.float32)
    changed = of_arrays(tmp_path, nothing) | {
        "data.space": "scaled", "data.image_size": (), "data.num_channels": 2,
        "data.dequantize": False, "conditions.labels.num_classes": 10,
    }  # fmt: skip
    np.savez(
        tmp_path / "set.npz", train_data=data, test_data=data[:4],
        train_labels=np.arange(16) % 10, test_labels=np.arange(4),
    )  # fmt: skip
    found = found_in(DIGITS, changed, "state_scale")
    mean, std = data.mean((0, 1, 2)), data.std((0, 1, 2))
    cures = [f"({mean[0]:.4g},{mean[1]:.4g},)", f"({std[0]:.4g},{std[1]:.4g},)"]
    assert all(cure in found.cure for cure in cures), found.cure


# Folders, each of one fault.


def cut(folder):
    file = folder / "train" / "cat" / "2.png"
    file.write_bytes(file.read_bytes()[:200])


def with_alpha(folder):
    Image.new("RGBA", (16, 16), (9, 9, 9, 0)).save(folder / "train" / "cat" / "3.png")


def of_twelve_bits(folder):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 80
    Image.fromarray(values).save(folder / "train" / "cat" / "3.png")


def in_three_channels(folder):
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").convert("RGB").save(path)


def wide(folder):
    for path in folder.rglob("*.png"):
        Image.open(path).resize((64, 16)).save(path)


def of_two_kinds(folder):
    for path in (folder / "train" / "cat").glob("*.png"):
        Image.open(path).resize((64, 16)).save(path)


OF_FILES = [
    ("damaged_files", cut, "train/cat/2.png"),
    ("transparent", with_alpha, "-alpha remove"),
    ("sixteen_bit", of_twelve_bits, "--config.data.source.numbers=True"),
    ("grey_as_colour", in_three_channels, "--config.data.num_channels=1"),
    ("proportions", wide, 'image_size="(16, 64)"'),
    ("proportions", of_two_kinds, "squeezed in place of cut: --config.data.crop=none"),
]


@pytest.mark.parametrize(("check", "spoil", "cure"), OF_FILES)
def test_a_fault_of_files_is_found(tmp_path, check, spoil, cure):
    arrays = healthy(count=16, held_out=4)
    for split in ("train", "test"):
        for i, (image, label) in enumerate(
            zip(arrays[f"{split}_images"], arrays[f"{split}_labels"], strict=True)
        ):
            path = tmp_path / split / ("cat", "dog")[label] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    spoil(tmp_path)
    changed = {"data.source.path": str(tmp_path), "data.image_size": (16, 16)}
    changed |= {"data.num_channels": 3, "data.keep_resized": False}
    found = found_in("folder_small", changed, check)
    assert found.severity >= Severity.WARNING and cure in found.cure, found
    if found.cure.startswith("--config"):
        subject = Subject(kinds.open_experiment("folder_small", changed | fields_in(found.cure)))
        assert list(findings_of(check, CHECKS[check](), subject)) == []


def test_a_class_that_is_not_held_out_asks_for_a_larger_share(tmp_path):
    images, labels = healthy(count=40)["train_images"], np.arange(40) < 3
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / ("cat", "owl")[int(label)] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    changed = {"data.source.path": str(tmp_path), "data.keep_resized": False}
    found = found_in("folder_small", changed, "class_missing")
    assert "held out has no example of owl" in found.seen
    assert found.cure == "more images of owl, or --config.data.holdout=0.2"


def test_data_that_are_not_there_are_said_once(tmp_path):
    experiment = kinds.open_experiment(VE, {"data.source.path": str(tmp_path / "gone")})
    found = examine(Subject(experiment))
    (error,) = [f for f in found.findings if f.severity >= Severity.WARNING]
    assert error.check == "data" and "data.source.path" in error.seen
    assert found.left_out["duplicates"] == "the data cannot be read"


# A run, and the machine.


def test_a_network_trained_otherwise_is_found():
    weights = ROOT / "pretrained" / "digits.npz"
    changed = {"process": "cosine"}
    trained = Trained(pathlib.Path("runs"), weights)
    found = found_in(weights, changed, "trained_otherwise", trained=trained)
    assert found.severity is Severity.ERROR and "leave --config.process.name out" in found.cure


def test_a_run_that_has_overfitted_is_found(tmp_path):
    losses = {100: 0.5, 200: 0.3, 300: 0.45}
    rows = [{"step": s, "held_out_loss": x, "loss_gap_error": 0.01} for s, x in losses.items()]
    text = "\n".join([*map(json.dumps, rows), '{"step": 31'])
    (tmp_path / "metrics.jsonl").write_text(text)
    found = found_in(DIGITS, {}, "overfitted", trained=Trained(tmp_path))
    assert "0.3 at step 200" in found.seen and "--config.training.steps=200" in found.cure
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows[:2])))
    with pytest.raises(ValueError, match="not enough values"):
        found_in(DIGITS, {}, "overfitted", trained=Trained(tmp_path))


@pytest.mark.parametrize(
    ("check", "taken", "severity", "seen", "cure"),
    [
        ("memory", Trial(3 << 30, 2 << 30, "", 1, 1.0), Severity.ERROR, "3.00 GiB of", "=auto"),
        ("memory", Trial(1 << 30, 2 << 30, "", 1, 1.0), Severity.NOTE, "1.00 GiB of", ""),
        # 5,500 steps.
        ("duration", Trial(1, 2, "", 10, 600.0), Severity.WARNING, "3.8 days", "steps=1440"),
        ("duration", Trial(1, 2, "", 10, 10.0), Severity.NOTE, "1.5 hours and cost 3.82 at", ""),
    ],
)
def test_what_a_training_takes_is_judged(check, taken, severity, seen, cure):
    subject = Subject(kinds.open_experiment(DIGITS), Request(measure=True, price=2.5))
    vars(subject)["trial"] = taken
    (found,) = findings_of(check, CHECKS[check](), subject)
    assert found.severity is severity and seen in found.seen and cure in found.cure, found


@pytest.mark.slow
def test_steps_of_a_training_are_timed_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changed = {"model.nf": 8, "model.ch_mult": (1,), "model.patch_size": 4, "training.steps": 30}
    experiment = kinds.open_experiment(DIGITS, changed | {"optim.warmup": 1})
    found = trial(experiment.task, experiment.loader(), experiment.training, seconds=0.1)
    assert 1 <= found.steps <= 100 and found.seconds > 0 and 0 < found.needs < found.has
    assert "microbatch 64 of 64" in found.reason and not list(tmp_path.iterdir())


# No false alarms.


@pytest.mark.one_in(3)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_nothing_shipped_is_warned_of(path, tmp_path, monkeypatch):
    """Of those whose data are here all is examined, of others the configuration."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 32)).save(tmp_path / "images" / "1.png")
    write_lines(tmp_path / "lines.npz")
    experiment = kinds.open_experiment(path)
    parts = [Part.CONFIG]
    if experiment.config.data.source.name in HERE:
        parts.append(Part.DATA)
    asked = Request(",".join(map(names, parts)), examples=48)
    found = examine(Subject(experiment, asked))
    assert [f for f in found.findings if f.severity >= Severity.WARNING] == []


def test_every_check_has_a_planted_fault():
    planted = {case[0] for case in (*CONFIGURED, *OF_DIGITS, *OF_ARRAYS, *OF_FILES)}
    planted |= {"state_scale", "trained_otherwise", "overfitted", "memory", "duration"}
    assert planted - {"refused"} == set(CHECKS) - {"bfloat16_on_cpu"}  # which is a note


# The widths of the prior.

WIDTHS = [
    ({"process.sigma_max": 14.0}, ""),
    ({"process.sigma_max": 200.0}, "process.sigma_max = 200, but"),
    ({"process": "smld", "process.sigma_max": 2.0}, "process.sigma_max = 2, but"),
    ({"process": "edm", "process.t_max": 800.0}, "process.t_max = 800, but"),
    ({"process": "vp"}, ""),
]


@pytest.mark.parametrize(("overrides", "seen"), WIDTHS)
def test_a_prior_far_from_as_wide_as_the_data_is_found(overrides, seen):
    subject = Subject(kinds.open_experiment("digits/vp_small", VE_DIGITS | overrides))
    found = list(prior.PriorWidth().findings(subject))
    assert len(found) == bool(seen) and all(f.seen.startswith(seen) for f in found)


def test_the_largest_distance_is_that_of_the_pair_farthest_apart():
    x = np.random.default_rng(0).normal(100.0, 1.0, (20, 7)).astype(np.float32)
    expected = max(np.linalg.norm(a - b) for a in x for b in x)
    assert prior.largest_distance(x) == pytest.approx(expected, rel=1e-5)


# The mode.


def test_the_mode_prints_and_leaves_a_report(tmp_path, capsys):
    config = kinds.load(DIGITS, {"optim.lr": 0.1})
    command = Command(config, tmp_path, request=Request("learning_rate,warmup"))
    assert modes.run("doctor", command) == 0
    printed = capsys.readouterr().out
    assert "warning  learning_rate: optim.lr = 0.1" in printed
    assert "cure: --config.optim.lr=0.0002" in printed
    (path,) = tmp_path.glob("doctor/*/report.json")
    report = json.loads(path.read_text())
    assert str(path) in printed and report["checks"] == ["refused", "learning_rate", "warmup"]
    (finding,) = report["findings"]
    assert finding["severity"] == "warning" and finding["check"] == "learning_rate"
    assert {"devices", "device_memory", "config"} <= report["about"].keys()


def test_what_cannot_work_has_another_exit_status(tmp_path, capsys):
    config = kinds.load(DIGITS, {"data.space.low": 2.0})
    assert modes.run("doctor", Command(config, tmp_path, request=Request("warmup"))) == 1
    assert "error    refused: data.space.low: got 2.0" in capsys.readouterr().out


OWN = """
import dataclasses
from experiment.doctor.finding import Check, warning

@dataclasses.dataclass(frozen=True)
class Thirteen(Check):
    def findings(self, subject):
        if subject.get("seed") == 13:
            yield warning("seed = 13", "it is unlucky", "--config.seed=14")
"""


def test_a_check_of_ones_own_is_made(tmp_path, monkeypatch, forget_own):
    (tmp_path / "luck.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    found = found_in(DIGITS, {"seed": 13}, "luck:Thirteen", checks="warmup,luck:Thirteen")
    assert found.cure == "--config.seed=14"
    forget_own()
    with pytest.raises(InvalidValue, match="checks: got 'wurmup', expected one of .*'warmup'"):
        chosen("wurmup")


def test_checks_are_frozen_and_say_what_their_fields_are():
    for check in CHECKS.values():
        assert dataclasses.fields(check) == () or "Attributes:" in (check.__doc__ or ""), check
