"""Training, sampling and evaluation, as the command line runs them, of data of every shape."""

import dataclasses
import json
import pathlib
import re

import jax
import numpy as np
import pytest
from PIL import Image

from experiment import kinds, modes
from experiment.doctor.examination import before_training
from experiment.doctor.subject import Subject
from experiment.modes import Command
from generation.controls import Controls
from options.errors import InvalidValue, OutOfMemory, StorageError

RANDOM = np.random.default_rng(0)
TINY = {
    "optim": {"warmup": 1},
    "training": {
        "steps": 2, "batch_size": 4, "microbatch": "4", "log_every": 1, "checkpoint_every": 2,
        "draw_every": 2, "evaluate_every": 2,
    },
    "sampling": {
        "solver": "ddim", "num_steps": 3, "num_samples": 5, "batch_size": 5, "t_end": 1e-3
    },
    "eval": {
        "batch_size": 4, "max_images": 6, "likelihood_images": 2, "samples": False, "rtol": 0.1,
        "atol": 0.1,
    },
}  # fmt: skip
UNET = {
    "name": "ncsnpp", "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (),
    "dropout": 0.0, "fir": False, "progressive_input": "none", "embedding_type": "positional",
}  # fmt: skip
VP = {"process": "vp", "parameterization": {"output": "v", "c_noise": "time"}}


def rectangles(folder):
    """A folder of colour images, 16 high and 8 wide, in two splits."""
    for split, count in (("train", 8), ("test", 6)):
        (folder / split).mkdir(parents=True)
        for i in range(count):
            pixels = RANDOM.integers(0, 256, (16, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / split / f"{i}.png")
    source = {"name": "folder", "path": str(folder)}
    return {"source": source, "image_size": (16, 8), "num_channels": 3, "dequantize": True}


def fields(folder):
    """Arrays of real numbers, 8 x 12 with two channels, of mean 5 and standard deviation 3."""
    folder.mkdir()
    draw = lambda n: RANDOM.normal(5.0, 3.0, (n, 8, 12, 2)).astype(np.float32)  # noqa: E731
    np.savez(folder / "fields.npz", train_data=draw(8), test_data=draw(6))
    source = {"name": "npz", "path": str(folder / "fields.npz")}
    space = {"name": "scaled", "mean": (5.0,), "std": (3.0,)}
    return {"source": source, "space": space, "image_size": ()}


def sequences(folder):
    """Walks in the plane of 3 to 10 steps, of two classes."""
    folder.mkdir()
    arrays = {}
    for split, count in (("train", 8), ("test", 6)):
        arrays[f"{split}_data"] = RANDOM.normal(size=(count, 10, 2)).astype(np.float32)
        arrays[f"{split}_lengths"] = RANDOM.integers(3, 11, count)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    np.savez(folder / "walks.npz", **arrays)
    source = {"name": "npz", "path": str(folder / "walks.npz")}
    return {"source": source, "space": "scaled", "image_size": ()}


SEQUENCE = {
    "name": "sequence", "nf": 8, "num_blocks": 1, "num_heads": 2, "embedding_type": "positional"
}  # fmt: skip
CASES = {
    "rectangles": (rectangles, UNET, (16, 8, 3), np.uint8, "bits_per_dim"),
    "fields": (fields, UNET, (8, 12, 2), np.float32, "nats_per_dim"),
    "sequences": (sequences, SEQUENCE, (10, 2), np.float32, "nats_per_dim"),
}


# A U-Net and its likelihood compile for most of a minute each.
SLOW = [
    pytest.param(case, density, marks=pytest.mark.slow)
    for case, density in (("rectangles", False), ("rectangles", True), ("fields", True))
]


@pytest.mark.parametrize("case, density", [("sequences", True), *SLOW])
def test_data_of_any_shape_train_sample_and_are_evaluated(case, density, tmp_path):
    make, model, shape, dtype, unit = CASES[case]
    more = {"conditions": {"labels": {"num_classes": 2}}} if case == "sequences" else {}
    config = kinds.complete(TINY | VP | more | {"model": model, "data": make(tmp_path / "data")})
    config.eval.likelihood = density
    command = Command(config, tmp_path / "run")
    assert kinds.experiment(config).shape == shape
    for mode in ("train", "sample", "eval"):
        assert modes.run(mode, command) == 0

    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    measured = json.loads(rows[-1])
    assert measured["step"] == 2 and np.isfinite(measured["held_out_loss"])
    samples_in = tmp_path / "run" / "samples" / "step_2" / "default"
    with np.load(samples_in / "samples.npz") as file:
        samples = dict(file)
    assert samples["images"].shape == (5, *shape) and samples["images"].dtype == dtype
    assert np.isfinite(samples["images"]).all() and samples["images"].std() > 0
    if case == "sequences":
        remembered = kinds.experiment(kinds.load(tmp_path / "run"))
        assert modes.named_classes(remembered)["class_names"].tolist() == ["0", "1"]
        text = next((tmp_path / "run" / "eval").rglob("report.json")).read_text()
        assert json.loads(text)["about"]["class_names"] == ["0", "1"] and text.endswith("}\n")
        other = kinds.load(tmp_path / "run", {"process": "ve"})
        for mode in ("train", "sample", "eval"):
            with pytest.raises(InvalidValue, match='process.name was "vp", now "ve"'):
                modes.run(mode, dataclasses.replace(command, config=other))
    has_png = (samples_in / "samples.png").exists()
    assert has_png == (dtype == np.uint8)
    if case == "sequences":  # as long as held-out ones, and nothing in the padding
        lengths = samples["mask"].reshape(5, -1).sum(1)
        with np.load(tmp_path / "data" / "walks.npz") as file:
            assert set(lengths) <= set(file["test_lengths"])
        padding = ~np.broadcast_to(samples["mask"], samples["images"].shape)
        assert padding.any() and not samples["images"][padding].any()
        np.testing.assert_array_equal(samples["labels"], [0, 1, 0, 1, 0])

    evaluated_in = tmp_path / "run" / "eval" / "step_2" / "default"
    report = json.loads((evaluated_in / "report.json").read_text())
    found = {figure["name"]: figure["value"] for figure in report["figures"]}
    assert found["loss"] == pytest.approx(measured["held_out_loss"], rel=1e-5)  # of all six
    assert density == (unit in found)
    assert not density or np.isfinite(found[unit])


def test_what_only_pixels_have_is_refused_of_others_in_one_sentence(tmp_path):
    data = fields(tmp_path / "data") | {"dequantize": True}
    made = kinds.experiment(kinds.complete(TINY | VP | {"model": UNET, "data": data}))
    with pytest.raises(InvalidValue, match="^data.dequantize: got True, but .* no grey levels"):
        made.check_all(1)


CHANGED = {
    "process": ("ve", 'process.name was "vp", now "ve"'),
    "process.beta_max": (10.0, "process.beta_max was 20.0, now 10.0"),
    "parameterization.output": ("noise", 'parameterization.output.name was "v", now "noise"'),
    "model.nf": (16, "model.nf was"),
    "data.holdout": (0.5, "data.holdout was 0.1, now 0.5"),
    "data.space.low": (0.0, "data.space.low was -1.0, now 0.0"),
    "conditions.labels.num_classes": (7, "conditions.labels.num_classes was 10, now 7"),
}
DIGITS = "pretrained/digits.npz"


@pytest.mark.parametrize("field", CHANGED)
def test_a_network_is_used_under_what_it_was_trained(field, tmp_path, capsys):
    value, said = CHANGED[field]
    command = Command(kinds.load(DIGITS, {field: value}), tmp_path, pathlib.Path(DIGITS))
    for mode in ("sample", "eval", "control"):
        with pytest.raises(InvalidValue, match=re.escape(said)) as caught:
            modes.run(mode, command)
        assert caught.value.field.startswith(field) and "--force" in str(caught.value)
    modes.require_as_trained(dataclasses.replace(command, force=True))
    assert f"warning: {DIGITS} was trained under another config: " in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["sample", "eval", "control"])
def test_a_trained_model_that_is_not_there_is_refused_before_anything_is_written(mode, tmp_path):
    config, near = kinds.load(DIGITS), tmp_path / "runs" / "digits"
    near.mkdir(parents=True)
    cases = {
        tmp_path / "run" / "digits": f"workdir: got .*, but there is none, .* mean '{near}'?",
        near: "workdir: no checkpoint in ",
    }
    for where, said in cases.items():
        with pytest.raises(StorageError, match=f"^{said}"):
            modes.run(mode, Command(config, where))
    for weights, said in (("digits", "a file of exported weights; the folder"), ("d.npz", "none")):
        with pytest.raises(StorageError, match=f"^weights: got .*{said}"):
            modes.run(mode, Command(config, near, tmp_path / "runs" / weights))
    assert not [*(tmp_path / "runs" / "digits").iterdir()] and not (tmp_path / "run").exists()


def test_the_fields_of_a_config_are_printed_and_nothing_is_written(tmp_path, capsys):
    config = kinds.load("configs/digits/vp_small.py", {"sampling.solver": "ddim"})
    assert modes.run("fields", Command(config, tmp_path / "none")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "task = image",
        f"    one of {', '.join(kinds.KINDS)}",
    ]
    assert "training.steps = 3000 (default 1300001)" in lines
    at = lines.index("sampling.solver.eta = 0.0")
    assert lines[at + 1] == "    in [0, 1], how much of the noise is drawn anew."
    assert not any(line.startswith("sampling.solver.predictor") for line in lines)
    assert not list(tmp_path.iterdir())


def test_how_it_is_used_may_differ_from_its_training(tmp_path):
    free = {
        "precision.training": "bfloat16", "model.dropout": 0.5, "sampling.solver": "ddim",
        "seed": 3, "eval.max_images": 7, "training.steps": 5, "conditions.labels.dropout": 0.9,
    }  # fmt: skip
    config = kinds.load(DIGITS, free)
    modes.require_as_trained(Command(config, tmp_path, pathlib.Path(DIGITS)))


def test_a_run_shorter_than_its_warm_up_and_average_is_warned_of():
    def said(warmup, decay=0.9, slow_start=False):
        changed = {"training.steps": 200, "optim.warmup": warmup}
        changed |= {"ema.decay": decay, "ema.warmup": slow_start}
        subject = Subject(kinds.open_experiment("digits/vp", changed))
        return before_training(subject, ("warmup", "ema"))

    assert said(warmup=10) == []
    (line,) = said(warmup=5000)
    assert line.startswith("optim.warmup = 5000") and "ends at 4% of optim.lr" in line
    (line,) = said(warmup=10, decay=0.9999)
    assert line.startswith("ema.decay = 0.9999") and "98% the first, random" in line
    assert said(warmup=9, decay=0.9999, slow_start=True) == []


@pytest.mark.parametrize("step", ["../../escaped", "/tmp/escaped", 1.5, -1, True, None, [3]])
def test_a_step_in_weights_is_a_count(step, tmp_path):
    with np.load(DIGITS) as file:
        arrays = dict(file)
    record = json.loads(str(arrays["__meta__"])) | {"step": step}
    np.savez(tmp_path / "strange.npz", **arrays | {"__meta__": np.array(json.dumps(record))})
    weights = tmp_path / "strange.npz"
    command = Command(kinds.load(weights, {"eval.samples": False}), tmp_path / "run", weights)
    with pytest.raises(StorageError, match="^weights: .*, but its step is .*, not a count"):
        modes.run("eval", command)
    assert {p.name for p in tmp_path.iterdir()} <= {"strange.npz", "run"}


IN_MEMORY = {
    "an accelerator": jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
    "a CPU": jax.errors.JaxRuntimeError("INTERNAL: Out of memory allocating 9 bytes"),
    "the host": MemoryError("Unable to allocate 8.00 TiB"),
}


@pytest.mark.parametrize(
    ("mode", "of", "message"),
    [
        ("train", "a CPU", "^training.microbatch: got '64', but the device is out of memory, expe"),
        ("train", "the host", "^training.batch_size: got 64, but the memory ran out, expected a s"),
        ("eval", "an accelerator", "^eval.batch_size: got '?128'?, but the device is out"),
        ("eval", "the host", "^eval.num_samples: got 1000, but the memory"),
        ("sample", "a CPU", "^sampling.batch_size: got '?50'?, but the device"),
        ("sample", "the host", "^sampling.num_samples: got 50, but the memory"),
        ("control", "a CPU", "^sampling.batch_size: got '?50'?, but the device"),
        ("control", "the host", "^control.images: got 4, but the memory"),
    ],
)
def test_where_memory_runs_out_the_field_to_lower_is_named(mode, of, message, monkeypatch):
    def exhausted(command):
        raise IN_MEMORY[of]

    monkeypatch.setitem(modes.MODES, mode, (exhausted, *modes.MODES[mode][1:]))
    command = Command(kinds.load("pretrained/digits.npz"), None)
    with pytest.raises(OutOfMemory, match=message):
        modes.run(mode, command)


def test_images_to_control_that_do_not_fit_name_what_there_is_more_of(monkeypatch):
    def exhausted(*_):
        raise IN_MEMORY["a CPU"]

    monkeypatch.setattr(Controls, "setup", exhausted)
    for more, fewer in (("images", "results"), ("results", "images")):
        fields = {f"control.{more}": 6, f"control.{fewer}": 2}
        made = kinds.open_experiment("pretrained/digits.npz", fields)
        params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), made.template)
        with pytest.raises(OutOfMemory, match=f"^control.{more}: got 6, but the device is out"):
            modes.controlled(made, params)


def test_how_training_divides_a_batch_is_of_no_matter_to_an_evaluation(tmp_path, monkeypatch):
    """The shipped model was trained in batches of 64, which three devices cannot divide."""
    monkeypatch.setattr("jax.device_count", lambda: 3)
    command = Command(kinds.load(DIGITS), tmp_path, pathlib.Path(DIGITS))
    modes.checked_as_trained(command)
    with pytest.raises(InvalidValue, match="training.batch_size: got 64"):
        modes.checked(command, 3)
