"""The command line: what it says to a slip, and a run from nothing to samples and figures."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import main
from controllable.strategies import STRATEGIES
from experiment import modes
from generation import control_tasks
from solvers import SOLVERS
from tools import export_weights

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = "--config=configs/digits/vp_small.py"
# A network and a run that are as small as can be.
TINY = (
    "--config.model.nf=8",
    "--config.model.ch_mult=(1,)",
    "--config.model.patch_size=4",
    "--config.training.steps=4",
    "--config.training.batch_size=8",
    "--config.training.microbatch=8",
    "--config.training.checkpoint_every=2",
    "--config.training.draw_every=4",
    "--config.training.log_every=1",
    "--config.training.evaluate_every=2",
    "--config.training.evaluate_examples=20",
    "--config.optim.warmup=1",
    "--config.sampling.num_steps=2",
    "--config.sampling.num_samples=10",
    "--config.sampling.batch_size=10",
    "--config.eval.num_samples=20",
    "--config.eval.max_images=16",
    "--config.eval.likelihood_images=2",
    "--config.eval.batch_size=16",
    "--config.eval.rtol=0.1",
    "--config.eval.atol=0.1",
    "--config.eval.memorisation=False",
)


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess:
    """main.py with these arguments, or a program, from the root of the project."""
    program = ["-c", code] if code else ["main.py"]
    command = [sys.executable, *program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def error_of(*arguments: str) -> str:
    """The one line that a slip is answered with."""
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    "error, said",
    [
        ("flag --config.training.steps=abc: invalid literal for int() with base 10: 'abc'",
         "--config.training.steps: got 'abc', expected a whole number"),
        ("flag --config.model.remat=maybe: ('Non-boolean argument to boolean flag', 'maybe')",
         "--config.model.remat: got 'maybe', expected True or False"),
        ("flag --config.optim.lr=x: could not convert string to float: 'x'",
         "--config.optim.lr: got 'x', expected a number"),
        ("flag --nothing=1: of ours", ""),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_answered_without_pythons_words(error, said):
    known = {"training.steps": 3, "model.remat": False, "optim.lr": 0.1}
    assert main._of_type(error, known) == said


def test_help_comes_without_jax():
    code = """
import sys
import time
sys.argv = ["main.py", "--help"]
import main
from absl import app
try:
    app.run(main.main, flags_parser=main.parse)
finally:
    heavy = {"jax", "flax", "numpy", "tensorflow"} & set(sys.modules)
    assert not heavy, heavy
"""
    done = run(code=code)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_the_flags_and_shows_commands():
    done = run("--help")
    assert done.returncode == 0
    modes_ = "--mode: <train|eval|sample|control|write|doctor|fields>"
    for flag in ("--config", "--workdir", modes_, "--weights", "--checks", "--[no]measure"):
        assert flag in done.stdout
    assert run().stdout == done.stdout  # as it stands, without anything
    assert "python main.py --config configs/digits/vp_small.py --workdir" in done.stdout


def test_help_names_what_there_is():
    text = main.help_text()
    assert set(main.MODES) == set(modes.MODES)
    for field, table in (
        ("control.task", control_tasks.TASKS),
        ("guidance.strategy", STRATEGIES),
        ("sampling.solver", SOLVERS),
    ):
        assert f"  --config.{field}: {', '.join(table)}\n" in text
    for mode, about in main.MODES.items():
        assert f"  {mode:9}{about}\n" in text


@pytest.mark.one_in(8)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([CONFIG, "--config.training.stesp=4"], "did you mean training.steps?"),
        ([CONFIG, "--config.traning.steps=4"], "did you mean training.steps?"),
        ([CONFIG, "--config.batch_size=4"], "training.batch_size"),
        ([CONFIG, "--config.qqqq=4"], "--config.qqqq: the config has no such field"),
        ([CONFIG, "--config.training.steps=four"], "--config.training.steps: got"),
        ([CONFIG, "--config.training.batch_size=28.5"], "--config.training.batch_size: got"),
        ([CONFIG, "--mode=dance"], "--mode=dance: value should be one of <train|eval|sample"),
        ([CONFIG, "--workdri=a"], "Did you mean: workdir"),
        ([CONFIG], "--workdir: a run needs a folder"),
        ([CONFIG, "--workdir=a", "train"], "got 'train', expected flags"),
        (["--config=configs/digits/vq.py"], "no file configs/digits/vq.py; did you mean 'configs"),
        (["--config=digits/vq"], "no file digits/vq; did you mean 'digits/vp'?"),
        (
            ["--workdir=nowhere"],
            "--workdir: there is no folder nowhere; a new run needs --config",
        ),
        (["--workdir=dcs", "--mode=eval"], "no folder dcs; did you mean 'docs'?; a new run needs"),
        (
            ["--weights=pretrained/digit.npz", "--mode=sample"],
            "--weights: there is no file pretrained/digit.npz; did you mean 'pretrained/dig",
        ),
        (["--weights=digitz"], "--weights: there is no file digitz; did you mean 'digits'?"),
        (
            ["--mode=sample", "--text=red heart", "--text="],
            "sampling.texts: got ('red heart', ''), but the model takes no captions",
        ),
        (["--weights=README.md", "--mode=sample"], "weights: README.md cannot be read as exported"),
        (["--weights=data/digits.npz", "--mode=sample"], "weights: data/digits.npz has no record"),
        (
            ["--weights=pretrained/digits.npz", "--workdir=/proc/no", "--mode=sample"],
            "error: workdir: /proc/no/samples/digits-1d607c5f/default cannot be written",
        ),
    ],
)
def test_a_slip_is_answered_in_one_line(arguments, expected):
    line = error_of(*arguments)
    assert line.startswith("error: ") and expected in line


def test_without_the_packages_it_says_where_they_are(tmp_path):
    """As `python main.py` does where that is another Python than .venv/bin/python."""
    done = subprocess.run(
        [sys.executable, "-S", "main.py"], cwd=ROOT, env={}, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: absl is not installed for ") and ".venv/bin/python" in line


@pytest.mark.parametrize("value", ["1", "True"])
def test_double_precision_is_refused_at_the_start(value, monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", value)
    line = error_of("--weights=pretrained/digits.npz", "--mode=sample")
    assert line.startswith(f"error: JAX_ENABLE_X64: got '{value}', but all here is in float32")


def test_a_config_that_cannot_work_is_refused_before_anything_is_written(tmp_path):
    slip = "--config.sampling.solver.predictor=eular"
    line = error_of(CONFIG, f"--workdir={tmp_path / 'run'}", slip)
    assert line.startswith("error: sampling.solver.predictor: got 'eular'")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A finished run of four steps."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    done = run(CONFIG, f"--workdir={folder}", "--mode=train", *TINY)
    assert done.returncode == 0, done.stderr
    assert "finished at step 4" in done.stdout
    return folder


def read_rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_training_leaves_checkpoints_logs_and_the_config(workdir):
    rows = read_rows(workdir)
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "held_out_loss" in row] == [2, 4]
    assert all(np.isfinite(row["loss"]) for row in rows if "loss" in row)
    assert json.loads((workdir / "config.json").read_text())["model"]["nf"] == 8
    with Image.open(workdir / "pictures" / "samples-00000004.png") as picture:
        assert min(picture.size) >= 512  # ten digits, a row each


@pytest.mark.slow
def test_what_is_measured_may_change_when_a_run_is_resumed(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "run")
    changes = ["steps=6", "evaluate_every=3", "fid_every=5", "fid_samples=20"]
    options = [f"--config.training.{change}" for change in changes]
    done = run(CONFIG, f"--workdir={tmp_path / 'run'}", "--mode=train", *TINY, *options)
    assert done.returncode == 0, done.stderr
    assert "measured every 5 steps: FID of 20 samples to digits/train, by digits@" in done.stdout
    rows = read_rows(tmp_path / "run")
    assert rows[: len(read_rows(workdir))] == read_rows(workdir)
    assert [row["step"] for row in rows if "held_out_loss" in row] == [2, 4, 6]
    assert [row["step"] for row in rows if row.get("fid", 0) > 0] == [5, 6]
    figures = evaluate(
        tmp_path / "run", "--config.eval.max_images=20", "--config.eval.likelihood=False", step=6
    )
    assert rows[-1]["fid"] == pytest.approx(figures["fid"]["value"], rel=1e-3)
    assert rows[-2]["held_out_loss"] == pytest.approx(figures["loss"]["value"], rel=1e-4)


@pytest.mark.slow
def test_a_workdir_of_another_config_is_refused(workdir):
    line = error_of(CONFIG, f"--workdir={workdir}", "--mode=train", *TINY, "--config.optim.lr=0.5")
    assert "was made by another config: optim.lr was 0.001, now 0.5" in line


@pytest.fixture(scope="module")
def samples(workdir):
    """What the run samples, without a config on the command line."""
    done = run(f"--workdir={workdir}", "--mode=sample", "--config.sampling.labels=3,7")
    assert done.returncode == 0, done.stderr
    folder = workdir / "samples" / "step_4" / "labels=3+7"
    assert f"5 evaluations each: {folder}" in done.stdout
    with np.load(folder / "samples.npz") as made:
        return dict(made)


@pytest.mark.slow
def test_sampling_needs_no_config(workdir, samples):
    assert samples["images"].shape == (10, 28, 28, 1)
    assert samples["labels"].tolist() == [3, 7] * 5
    assert samples["ok"].all()
    assert samples["nfe"] == 5  # two steps of predictor and corrector, and Tweedie's
    for name in ("samples.png", "path.png"):
        folder = workdir / "samples" / "step_4" / "labels=3+7"
        with Image.open(folder / name) as picture:
            assert np.asarray(picture).std() > 0 and min(picture.size) >= 512
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["parameters"] == "step_4" and settings["config"]["sampling.labels"] == "3,7"


@pytest.mark.slow
def test_another_command_leaves_what_the_first_one_made(workdir, samples):
    files = sorted((workdir / "samples").rglob("*.png"))
    before = [file.stat().st_mtime_ns for file in files]
    solver = ("--config.sampling.solver=ddim", "--config.sampling.num_samples=2")
    done = run(f"--workdir={workdir}", "--mode=sample", *solver)
    assert done.returncode == 0, done.stderr
    assert [file.stat().st_mtime_ns for file in files] == before
    assert len(sorted((workdir / "samples").rglob("*.png"))) == len(files) + 2


def evaluate(workdir, *options: str, step: int = 4) -> dict:
    done = run(f"--workdir={workdir}", "--mode=eval", *options)
    assert done.returncode == 0, done.stderr
    (folder,) = re.findall(rf"^step {step}: (.*)/report.json$", done.stdout, re.MULTILINE)
    report = json.loads((pathlib.Path(folder) / "report.json").read_text())
    return {figure["name"]: figure for figure in report["figures"]}


@pytest.mark.slow
def test_evaluation_needs_no_config(workdir):
    options = ("--config.eval.samples=False", "--config.eval.likelihood=False")
    assert evaluate(workdir, *options)["loss"]["samples"] == 16


@pytest.mark.slow
def test_evaluation_of_samples_and_density(workdir):
    figures = evaluate(workdir, "--config.eval.loss=False")
    assert figures["bits_per_dim"]["samples"] == 2
    assert {"fid", "kid", "legible", "fid_of_held_out"} <= set(figures)
    assert figures["fid"]["samples"] == 20 and figures["fid"]["evaluations"] == 5


@pytest.mark.slow
def test_exported_weights_give_the_samples_of_the_run(workdir, samples, tmp_path):
    file = tmp_path / "weights.npz"
    assert export_weights.export(workdir, file, dtype="float32") == 4
    options = ("--mode=sample", "--config.sampling.labels=3,7")
    done = run(f"--workdir={tmp_path}", f"--weights={file}", *options)
    assert done.returncode == 0, done.stderr
    (made_in,) = (tmp_path / "samples").glob("weights-*/labels=3+7")
    with np.load(made_in / "samples.npz") as made:
        np.testing.assert_array_equal(made["images"], samples["images"])


def test_what_cannot_be_exported_is_said(workdir, tmp_path, capsys):
    for options, expected in (
        (["--out=weights.pt"], "out: got 'weights.pt', expected a name that ends in .npz or"),
        ([f"--out={tmp_path / 'a.npz'}", "--step=3"], "3"),
    ):
        with pytest.raises(SystemExit):
            export_weights.main([f"--workdir={workdir}", *options])
        assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# What a mode has said when the signal is sent; each is then compiling, or reading.
BEGUN = {
    "train": ("compiling the training step", [CONFIG]),
    "eval": ("loss: ", []),
    "sample": ("sample: ", ["--config.sampling.num_steps=1000"]),
    "control": ("inpaint: ", []),
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", BEGUN)
def test_an_interrupt_is_answered_soon_in_one_line(mode, tmp_path):
    began, options = BEGUN[mode]
    command = [sys.executable, "-u", "main.py", f"--mode={mode}", *options]
    command += [f"--workdir={tmp_path / 'run'}"]
    command += [] if mode == "train" else ["--weights=pretrained/digits.npz"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        while not process.stdout.readline().startswith(began):
            assert process.poll() is None
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        *bars, last = process.stdout.read().splitlines()
    assert (process.returncode, last) == (130, "interrupted")
    assert all(": " in bar for bar in bars) and time.monotonic() - sent < 10
    leftovers = [path for path in (tmp_path / "run").rglob("*") if path.suffix == ".tmp"]
    assert not leftovers
