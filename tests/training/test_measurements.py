"""What is measured beside a training: when, where it is written, and that it harms nothing."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from tiny_runs import FAILURES, OPTIONS, equal, rows, scalars
from tiny_task import TinyLoader, TinyMeasurement, TinyTask

from storage import checkpoint
from tasks.task import Context
from training import loop
from training.measurements import Measurement


def fit(workdir, *measurements, loader=None, **changes):
    options = dataclasses.replace(OPTIONS, **changes)
    loader = loader or TinyLoader(options.batch_size)
    result = loop.fit(TinyTask(), loader, options, workdir, measurements=measurements)
    return dataclasses.replace(result, state=jax.device_get(result.state))


def measured(workdir, metric="fixed_loss"):
    return [(row["step"], row[metric]) for row in rows(workdir) if metric in row]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 40 steps that is measured every 10."""
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, fit(workdir, TinyMeasurement(10))


def test_the_training_is_the_same_with_and_without(whole, tmp_path):
    assert isinstance(TinyMeasurement(1), Measurement)
    plain = fit(tmp_path)
    assert equal(whole[1].state, plain.state)
    timed = ("steps_per_second", "images_per_second")
    without = [{k: v for k, v in row.items() if k not in timed} for row in rows(tmp_path)]
    beside = [{k: v for k, v in row.items() if k not in timed} for row in rows(whole[0])]
    assert [row for row in beside if "fixed_loss" not in row] == without
    record = [checkpoint.inspect(folder / "checkpoints")["meta"] for folder in (whole[0], tmp_path)]
    assert record[0]["microbatch"] == record[1]["microbatch"]


def test_it_is_written_in_the_file_and_as_a_curve(whole):
    """By the averaged parameters: the row of the last step is what the result gives."""
    workdir, result = whole
    found = measured(workdir)
    assert [step for step, _ in found] == [10, 20, 30, 40]
    ema = result.state.ema
    assert found[-1][1] == TinyMeasurement(10)(Context(ema, ema, 40), 8)["fixed_loss"]
    assert found[-1][1] < found[0][1]
    curve = scalars(workdir / "tensorboard")
    for step, value in found:
        assert curve["measured/fixed_loss", step] == pytest.approx(value)


def test_it_is_measured_where_steps_end_and_at_the_last_one(tmp_path):
    """Five steps are one dispatch, and the last one has three."""
    expected = {
        7: [10, 15, 25, 30, 35, 38],  # that have 7, 14, 21, 28, 35
        1: [5, 10, 15, 20, 25, 30, 35, 38],
        25: [25, 38],
        39: [],
    }
    fit(tmp_path, *(TinyMeasurement(every, f"every_{every}") for every in expected), steps=38)
    for every, steps in expected.items():
        assert [step for step, _ in measured(tmp_path, f"every_{every}")] == steps


def test_a_resumed_run_continues_the_curve(whole, tmp_path):
    """Also with what was logged after its checkpoint."""
    fit(tmp_path, TinyMeasurement(10), steps=20)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 30, "fixed_loss": 0.0}\n{"step": 40, "fix')
    fit(tmp_path, TinyMeasurement(10))
    assert measured(tmp_path) == measured(whole[0])
    fit(tmp_path, TinyMeasurement(10))  # it is over
    assert measured(tmp_path) == measured(whole[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Fatal(TinyMeasurement):
    """With a fault at step 20."""

    def __call__(self, context, at_once):
        if context.step == 20:
            raise KeyError("kernel")
        return super().__call__(context, at_once)


def test_what_a_run_did_not_come_to_measure_is_measured_when_it_is_resumed(
    whole, tmp_path, monkeypatch
):
    """Whoever asks a run to end waits for no measurement; a fault in one ends it."""
    asked = iter([loop.Stop.FINISHED, loop.Stop.FINISHED, loop.Stop.INTERRUPTED])
    with monkeypatch.context() as patch:
        # at the beginning, after step 5 and after step 10
        patch.setattr(loop, "why_stop", lambda *given: next(asked))
        assert fit(tmp_path, TinyMeasurement(10)).steps == 10
    assert not measured(tmp_path)
    with pytest.raises(KeyError):
        fit(tmp_path, Fatal(10))
    assert [step for step, _ in measured(tmp_path)] == [10]
    assert checkpoint.latest_step(tmp_path / "checkpoints") == 20
    assert equal(fit(tmp_path, TinyMeasurement(10)).state, whole[1].state)
    assert measured(tmp_path) == measured(whole[0])


def test_a_run_that_was_killed_after_its_last_step_is_measured_when_it_is_resumed(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    log = tmp_path / "run" / "metrics.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if json.loads(line)["step"] < 40))
    assert equal(fit(tmp_path / "run", TinyMeasurement(10)).state, whole[1].state)
    assert measured(tmp_path / "run") == measured(whole[0])
    lines = log.read_text()
    fit(tmp_path / "run", TinyMeasurement(10))
    assert log.read_text() == lines


@pytest.mark.slow
def test_a_run_that_was_not_measured_begins_where_it_is_resumed(whole, tmp_path):
    fit(tmp_path, steps=15)
    assert equal(fit(tmp_path, TinyMeasurement(10)).state, whole[1].state)
    assert [step for step, _ in measured(tmp_path)] == [15, 20, 30, 40]
    assert measured(tmp_path)[1:] == measured(whole[0])[1:]


@dataclasses.dataclass(frozen=True, eq=False)
class Failing(TinyMeasurement):
    """A measurement that fails; `error` None: that gives what is not a number."""

    error: Exception | None = None

    def __call__(self, context, at_once):
        if self.error is None:
            return {self.metric: np.nan}
        raise self.error


def test_one_that_fails_is_said_and_training_goes_on(whole, tmp_path, capsys):
    causes = [*FAILURES.values(), MemoryError(), np.linalg.LinAlgError("SVD"), None]
    failing = [Failing(20, f"m{i}", error=error) for i, error in enumerate(causes)]
    result = fit(tmp_path, *failing, TinyMeasurement(20))
    assert equal(result.state, whole[1].state)
    assert {name for row in rows(tmp_path) for name in row if name.startswith("m")} == set()
    assert measured(tmp_path) == measured(whole[0])[1::2]  # the one after them
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("measured every 20 steps: a loss of 16 vectors") == len(causes) + 1
    assert lines.count("step 20: compiling, to measure a loss of 16 vectors") == len(causes) + 1
    assert not [line for line in lines if line.startswith("step 40: compiling")]
    assert f"step 40: fixed loss {measured(tmp_path)[-1][1]:.4g}" in lines
    for i, error in enumerate(causes):
        said = [line for line in lines if f"no m{i}, training goes on: " in line]
        assert [line.partition(": no")[0] for line in said] == ["step 20", "step 40"]
        why = f"m{i}: got nan" if error is None else str(error) or "MemoryError"
        assert why.splitlines()[0] in said[0] and said[0].endswith("Ask for none by tiny.every=0")
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # strict JSON has no NaN


def test_a_heavy_one_finds_the_step_saved(tmp_path):
    seen = []

    class Looking(TinyMeasurement):
        def __call__(self, context, at_once):
            saved = (tmp_path / "checkpoints" / str(context.step)).is_dir()
            seen.append((context.step, self.is_heavy, saved, at_once))
            return {self.metric: 0.0}

    light, heavy = Looking(10, "light"), Looking(20, "heavy", is_heavy=True)
    fit(tmp_path, light, heavy, checkpoint_every=0, steps=25, microbatch=4)
    assert seen[:3] == [(10, False, False, 4), (20, False, True, 4), (20, True, True, 4)]
