"""What a tracker is given of a run, by a module that stands for Weights & Biases."""

import dataclasses
import sys
import types

import numpy as np
import pytest
from tiny_runs import OPTIONS, rows, scalars
from tiny_task import TinyLoader, TinyMeasurement, TinyTask

from experiment import kinds, modes
from options.errors import InvalidValue, NotInstalled
from storage.workdir import Claim, is_within
from training import loop
from training.trackers import NoTracker, WandB, run_id


class Refused(Exception):
    """What the service raises."""


class FakeRun:
    def __init__(self, options):
        self.options, self.logged, self.metrics, self.ended = options, [], {}, None

    def define_metric(self, name, step_metric=None):
        self.metrics[name] = step_metric

    def log(self, values):
        self.logged.append(values)

    def finish(self, exit_code):
        self.ended = exit_code


@pytest.fixture
def service(monkeypatch):
    """A module with what is used of wandb; `runs` are those that were opened."""
    runs = []

    def init(**options):
        runs.append(FakeRun(options))
        return runs[-1]

    module = types.SimpleNamespace(init=init, Image=np.array, Error=Refused, runs=runs)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


TRACKED = dataclasses.replace(OPTIONS, tracker=WandB("tiny", "a team"), steps=20, draw_every=20)


def fit(workdir, options=TRACKED, **claim):
    loader, measured = TinyLoader(options.batch_size), (TinyMeasurement(10),)
    return loop.fit(TinyTask(), loader, options, workdir, Claim(**claim), measured)


def test_a_run_is_logged_with_its_configuration(service, tmp_path):
    fit(tmp_path / "a", config={"optim": {"lr": 0.01}})
    (run,) = service.runs
    assert run.options["project"] == "tiny" and run.options["entity"] == "a team"
    assert run.options["name"] == "a" and run.options["config"] == {"optim": {"lr": 0.01}}
    assert run.metrics == {"step": None, "*": "step"} and run.ended == 0
    # The same numbers as in TensorBoard.
    points = {
        (tag, values["step"]): value
        for values in run.logged
        for tag, value in values.items()
        if tag != "step" and not tag.startswith("pictures/")
    }
    board = scalars(tmp_path / "a" / "tensorboard")
    assert {at: np.float32(value) for at, value in points.items()} == {
        at: np.float32(value) for at, value in board.items() if np.isfinite(value) and at in points
    }
    assert ("train/loss", 20) in points and ("measured/fixed_loss", 10) in points
    assert points["train/loss", 20] == next(
        row["loss"] for row in rows(tmp_path / "a") if row["step"] == 20 and "loss" in row
    )
    (drawn,) = [values for values in run.logged if any("pictures/" in tag for tag in values)]
    picture = next(value for tag, value in drawn.items() if tag != "step")
    assert drawn["step"] == 20 and picture.dtype == np.uint8


def test_a_resumed_run_is_the_same_one(service, tmp_path):
    fit(tmp_path / "a")
    fit(tmp_path / "a", dataclasses.replace(TRACKED, steps=30))
    first, again = (run.options["id"] for run in service.runs)
    assert first == again != run_id(tmp_path / "b")
    assert all(run.options["resume"] == "allow" for run in service.runs)
    assert {values["step"] for values in service.runs[1].logged} == {30}


def test_a_run_that_fails_is_marked(service, tmp_path):
    with pytest.raises(RuntimeError, match="no more"):
        with loop.open_log(tmp_path, 0, TRACKED, Claim()):
            raise RuntimeError("no more")
    assert [run.ended for run in service.runs] == [1]


def test_nothing_is_begun_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(NotInstalled, match=r"wandb is not installed: pip install .*\[wandb\]'"):
        fit(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_the_service_refuses_is_said_in_a_line(service, tmp_path):
    def refuse(**options):
        raise Refused("no API key\nuse wandb login")

    service.init = refuse
    with pytest.raises(InvalidValue, match="training.tracker: got 'wandb', but no API key use"):
        fit(tmp_path / "a")


def test_it_is_chosen_by_name_and_off_by_default():
    assert kinds.open_experiment("digits/vp").training.tracker == NoTracker()
    asked = {"training.tracker": "wandb", "training.tracker.project": "mine"}
    assert kinds.open_experiment("digits/vp", asked).training.tracker == WandB("mine")
    assert is_within("training.tracker.project", modes.CONTINUABLE)
