"""The command for a GPU, dry: every section on a CPU, with a network that compiles at once."""

import argparse
import json
import subprocess
import sys
from dataclasses import replace

import flax.linen as nn
import jax.numpy as jnp
import pytest
from jaxtyping import Array

from benchmarks import golden, gpu, gpu_amounts, gpu_fit, gpu_side
from benchmarks.gpu_sections import FIRST, JAX, KINDS, SECTIONS, TESTS, TORCH, next_wave, takes
from benchmarks.gpu_tables import tables
from benchmarks.jax_side import image_experiment
from benchmarks.worker import Failed
from experiment import kinds
from models import MODELS
from options.errors import InvalidValue

GOLDEN_TESTS = """
import pytest
def test_golden_forward(): pass
def test_golden_loss(): assert 1 == 2
@pytest.mark.skip
def test_golden_slow(): pass
def test_other(): pass
"""


class Tiny(nn.Module):
    """x times a number, and the noise level."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array, c_noise: Array, *, dropout_keys=None, **cond) -> Array:
        x = nn.Conv(x.shape[-1], (3, 3), dtype=self.dtype)(x)
        return x + c_noise[:, None, None, None].astype(self.dtype)


def tiny_config(network, batch=0, scan=False, fields=None):
    overrides = {"model": "tiny", "data.image_size": (4, 4), "training.batch_size": batch or 2}
    return kinds.load("configs/ve/cifar10_ncsnpp.py", overrides | dict(fields or {}))


class InProcess:
    """A worker that is no process."""

    limit, peak = 0.0, 7.0

    def __init__(self, section, folder):
        self._asked = None
        if section.module == TESTS:
            self.facts, self._measures = {"measures": {"golden": 1}}, {"golden": self._golden}
            self._folder = folder
        elif section.module == JAX:
            self._prepare(section)
        else:
            named = ("train: TF32", "train: bfloat16", "train: TF32, torch.compile", "pc: float32")
            self.facts = {"torch": "2.13.0", "batch": 2, "measures": dict.fromkeys(named, 1)}
            found = {"ms": 9.0, "queued_ms": 8.0}
            self._measures = {name: lambda _: found for name in named} | {named[2]: self._fail}

    def _prepare(self, section):
        _, kind, _, network, _, precision = [*section.arguments, *[None] * 4][:6]
        asked = gpu_side.Asked(network or "full", precision or "tf32", gpu_amounts.DRY)
        if kind == "fit":
            self.facts = {}
            found = gpu_side.fit(asked, self.facts.update)
            self._measures = {"fit": lambda _: found}
        else:
            facts, measures = gpu_side.PREPARE[kind](asked)
            self.facts = facts | {
                "measures": {name: count for name, (_, count) in measures.items()}
            }
            self._measures = {name: function for name, (function, _) in measures.items()}

    def _golden(self, _):
        return golden.run_golden(self._folder, workers=1)

    def _fail(self, _):
        raise Failed("AssertionError: a guard")

    def ask(self, name, count):
        return json.loads(json.dumps(self._measures[name](count)))

    def close(self):
        pass

    def kill(self):
        pass


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(MODELS, "tiny", Tiny)
    monkeypatch.setattr(gpu_amounts, "config_of", tiny_config)


def first_of_each_kind():
    """Sections that together have every kind."""
    return tuple(next(s for s in SECTIONS if s.kind == kind) for kind in KINDS)


# A likelihood is timed by attempts that get nowhere.
@pytest.mark.filterwarnings("ignore:samples that did not reach the end:UserWarning")
def test_every_kind_of_section_is_tried_on_a_cpu(tiny, tmp_path, monkeypatch):
    sections = first_of_each_kind()
    monkeypatch.setattr(gpu, "SECTIONS", sections)
    monkeypatch.setenv("GOLDEN_DIR", str(tmp_path))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_small.py").write_text(GOLDEN_TESTS)
    options = gpu.Options(tmp_path / "out", torch_python="python", dry=True)
    record = gpu.Record(options.out, {"command": "dry", "together": 8})
    start = lambda section, limit: InProcess(section, tmp_path / "tests")  # noqa: E731
    gpu.Command(options, record, start).run()

    known = json.loads((options.out / "gpu.json").read_text())
    assert set(known["sections"]) == {FIRST.name, *(section.name for section in sections)}
    assert {section["state"] for section in known["sections"].values()} == {"done"}
    errors = [
        (name, measure)
        for name, section in known["sections"].items()
        for measure, found in section["measures"].items()
        if "error" in found
    ]
    assert errors == [("torch train", "train: TF32, torch.compile")]

    by_title = {table.title: table for table in tables(known)}
    assert (options.out / "gpu.md").read_text() == "\n".join(
        t.markdown() for t in by_title.values()
    )
    rows = by_title["Golden tests at the default precision"].rows
    assert rows == [[1, 1, 1, "test_golden_loss"]]
    rows = by_title["Training step"].rows
    assert [row[1:3] for row in rows] == [["ours", "bfloat16"]] + [
        ["PyTorch", setting] for setting in ("TF32", "bfloat16", "TF32, torch.compile")
    ]
    assert rows[0][8] is None and None not in rows[0][:8] + rows[0][9:]  # the memory of a device
    assert rows[-1][3] == "failed: AssertionError: a guard"
    assert None not in by_title["Waits"].rows[0]
    sampling = by_title["Sampling and likelihood (full network)"].rows
    assert [row[1:3] for row in sampling] == [["ours", "float32"]] * 3 + [["PyTorch", "float32"]]
    kinds_of_work = by_title["Profile: training step, full bfloat16"].rows
    assert {"convolutions, forward", "optimizer: clipping, Adam"} <= {r[0] for r in kinds_of_work}


def test_what_fails_or_does_not_fit_is_a_row(tmp_path, monkeypatch):
    """Some get not ready, one takes longer than there is, two have no PyTorch."""

    def start(section, limit):
        class Broken(InProcess):
            def __init__(self):
                self.limit = limit

            @property
            def facts(self):
                raise Failed(f"no answer within {limit:.0f} s")

        return Broken()

    monkeypatch.setattr(gpu.Clock, "left", property(lambda clock: clock.seconds))  # it stands
    options = gpu.Options(tmp_path, seconds=129.0, sections=("train", "likelihood", "torch"))
    record = gpu.Record(tmp_path, {"together": 8})
    gpu.Command(options, record, start).run()
    states = {name: section["state"] for name, section in record.sections.items()}
    assert states["machine"] == "failed: no answer within 24 s"  # twice what it takes
    assert states["train full bfloat16"] == "failed: no answer within 111 s"  # with 18 to measure
    assert states["train full float32"] == "not run: needs 130 s, 129 s were left"
    assert states["torch train"] == gpu.NO_TORCH
    text = (tmp_path / "gpu.md").read_text()
    assert all(state in text for state in states.values())


def test_what_cannot_be_started_is_a_row_and_what_waits_for_it_says_so(tmp_path, monkeypatch):
    """A Python with PyTorch that there is not, and a training that takes longer than there is."""

    def start(section, limit):
        raise Failed("FileNotFoundError: no python")

    monkeypatch.setattr(gpu.Clock, "left", property(lambda clock: clock.seconds))  # it stands
    options = gpu.Options(tmp_path, 60.0, torch_python="python", sections=("train", "fit", "torch"))
    record = gpu.Record(tmp_path, {"together": 8})
    gpu.Command(options, record, start).run()
    states = {name: section["state"] for name, section in record.sections.items()}
    assert states["machine"] == states["torch train"] == "failed: FileNotFoundError: no python"
    assert states["fit full tf32"] == "not run: comes after train full tf32, which was not run"


def test_what_is_prepared_when_the_time_is_over_is_not_measured(tmp_path):
    class Slow(InProcess):
        facts = {"platform": "gpu", "measures": {"copy": 1, "tf32": 1}}

        def __init__(self, section, limit):
            self.limit = limit

        def ask(self, name, count):
            command.clock.seconds = 0.0
            return {"gbytes_per_s": 3e3}

    record = gpu.Record(tmp_path, {"together": 8})
    command = gpu.Command(gpu.Options(tmp_path, sections=("fit",)), record, Slow)
    command.run()
    measures = record.sections["machine"]["measures"]
    assert measures == {"copy": {"gbytes_per_s": 3e3}, "tf32": gpu.OVER}
    assert record.sections["fit full tf32"]["state"].startswith("not run: needs 38 s, ")


def test_without_a_gpu_it_is_refused(tmp_path):
    record = gpu.Record(tmp_path, {})
    options = gpu.Options(tmp_path)

    class Cpu(InProcess):
        facts = {"platform": "cpu", "measures": {}}

        def __init__(self):
            pass

    with pytest.raises(InvalidValue, match="^platform: got 'cpu', expected a GPU, or --dry"):
        gpu.Command(options, record, lambda section, limit: Cpu()).run()


def test_a_section_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="^sections: got 'trian'.*did you mean 'train'"):
        gpu.Options(tmp_path, sections=("trian",))


def test_what_runs_from_the_cache_comes_after_what_fills_it():
    pending, waves = list(SECTIONS), []
    while wave := next_wave(pending, 1e9, 8):
        waves.append([section.name for section in wave])
        pending = [section for section in pending if section not in wave]
    assert not pending and max(map(len, waves)) == 8
    where = {name: i for i, wave in enumerate(waves) for name in wave}
    for section in SECTIONS:
        assert not section.after or where[section.after] < where[section.name]


def test_a_wave_fits_into_the_time():
    wave = next_wave(SECTIONS, 130, 8)
    assert takes(wave) <= 130 and wave[0].name == "golden" and len(wave) > 1
    assert next_wave(SECTIONS, 10, 8) == []


def test_six_minutes_are_enough_for_all_but_the_last():
    """By the estimates, eight side by side."""
    left, pending = 360 - takes([FIRST]), list(SECTIONS)
    while wave := next_wave(pending, left, 8):
        left -= takes(wave)
        pending = [section for section in pending if section not in wave]
    assert set(pending) <= set(SECTIONS[-3:])


def test_kinds_of_sections_are_those_that_there_are():
    assert set(KINDS) == {"golden", "torch", "fit", *gpu_side.PREPARE} - {"machine"}


OURS = [section for section in (FIRST, *SECTIONS) if section.module != TORCH]


@pytest.mark.parametrize("section", OURS, ids=lambda section: section.name)
def test_the_command_line_of_a_section_is_understood(section, monkeypatch):
    """By the program that it is for, whose parser is asked and which then stops."""

    class Parsed(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def parsed(parser, *args):
        parse(parser, *args)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.setattr(sys, "argv", section.command("", dry=True)[2:])
    with pytest.raises(Parsed):
        {JAX: gpu_side, TESTS: golden}[section.module].run()


def test_without_recorded_outputs_a_word_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLDEN_DIR", str(tmp_path / "none"))
    assert "no recorded outputs" in golden.run_golden(tmp_path)["skipped"]


def test_a_folder_without_such_tests_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLDEN_DIR", str(tmp_path))
    (tmp_path / "test_small.py").write_text("def test_other(): pass")
    with pytest.raises(RuntimeError, match="^no golden tests were run in .*deselected"):
        golden.run_golden(tmp_path, workers=1)


def test_outcomes_are_read_one_by_one():
    """Of one process and of several; the second was ended in the midst."""
    alone = """collected 4 items / 1 deselected
tests/test_a.py::test_golden[b-1.0 c] PASSED                      [ 33%]
tests/test_a.py::test_golden[d] FAILED                            [ 66%]
tests/test_a.py::test_golden[e] SKIPPED (no file)                 [100%]
==== 1 failed, 1 passed, 1 skipped in 0.1s ====
"""
    several = """created: 4/4 workers
tests/test_a.py::test_golden[b]
tests/test_b.py::test_golden_c
[gw1] [ 20%] PASSED tests/test_b.py::test_golden_c
[gw0] [ 40%] ERROR tests/test_a.py::test_golden[b]
tests/test_a.py::test_gol"""
    found = {"passed": 1, "failed": 1, "left out": 1, "which failed": ["test_golden[d]"]}
    assert golden.outcomes(alone) == found
    found |= {"left out": 0, "which failed": ["test_golden[b]"]}
    assert golden.outcomes(several) == found


@pytest.mark.parametrize("network", gpu_amounts.REAL.subjects)
def test_the_true_networks_take_what_they_are_trained_on(network, tmp_path):
    asked = gpu_amounts.Asked(network, amount=replace(gpu_amounts.REAL, images=256))
    options = gpu_fit.run_options(asked, gpu_fit.write_images(asked, tmp_path / "random.npz"))
    experiment = image_experiment(asked.training_config(options))
    experiment.check_all(1)
    assert next(experiment.loader())["image"].shape == (128, 32, 32, 3)


@pytest.mark.slow
def test_the_whole_command_dry(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--seconds", "1800"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    sections = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    for name, section in sections.items():
        if not name.startswith("torch"):
            assert section["state"] == "done", (name, section)
            assert not any("error" in found for found in section["measures"].values()), name


def test_noise_levels_reach_the_tiny_network():
    x, c_noise = jnp.zeros((2, 4, 4, 3)), jnp.array([1.0, 2.0])
    variables = Tiny().init({"params": jnp.zeros(2, jnp.uint32)}, x, c_noise)
    assert (Tiny().apply(variables, x, c_noise)[:, 0, 0, 0] == c_noise).all()
