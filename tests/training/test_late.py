"""Summaries that are read while later steps are computed."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from tiny_runs import OPTIONS, equal, rows
from tiny_task import TinyLoader, TinyTask

from options.errors import NotFinite
from storage.checkpoint import latest_step
from training import late, loop
from training.late import Late
from training.program import Program


class Spy:
    """An array that notes when the host asks for it."""

    def __init__(self, value, note):
        self.value, self.note = value, note

    def __array__(self, *_, **__):
        self.note()
        return np.asarray(self.value)


@pytest.fixture
def events(monkeypatch):
    """Of a run: ("dispatch", n) of chunk n, ("read", n) of its summaries, ("save", step)."""
    found, call, save = [], Program.__call__, loop.Checkpoints.save
    monkeypatch.setattr(late, "SECONDS", float("inf"))
    numbers = itertools.count(1)

    def dispatch(self, state, batches):
        n = next(numbers)
        found.append(("dispatch", n))
        state, summaries = call(self, state, batches)
        spy = Spy(summaries["loss"], lambda: found.append(("read", n)))
        return state, summaries | {"loss": spy}

    def noted(self, step, *arguments):
        found.append(("save", step))
        return save(self, step, *arguments)

    monkeypatch.setattr(Program, "__call__", dispatch)
    monkeypatch.setattr(loop.Checkpoints, "save", noted)
    return found


def run(workdir, ahead, monkeypatch, loader=None, **changes):
    monkeypatch.setattr(loop, "AHEAD", ahead)
    options = dataclasses.replace(OPTIONS, n_jitted_steps=1, **changes)
    return loop.fit(TinyTask(), loader or TinyLoader(8), options, workdir)


def test_the_newest_step_is_waited_for_only_where_it_is_saved(events, tmp_path, monkeypatch):
    run(tmp_path, 2, monkeypatch, steps=20, log_every=5, checkpoint_every=10, draw_every=0)
    newest, saved = 0, [10, 20]
    for position, (what, n) in enumerate(events):
        if what == "dispatch":
            newest = n
        if what == "read" and 1 < n and newest not in saved:
            assert newest == n + 2, events[: position + 1]
    # All is read, in order, and what is saved has been read before.
    assert [n for what, n in events if what == "read"] == list(range(1, 21))
    for step in saved:
        before = events[: events.index(("save", step))]
        assert before[-1] == ("read", step) and ("dispatch", step + 1) not in before


def test_no_chunk_is_in_flight_beside_one_that_takes_long(events, tmp_path, monkeypatch):
    monkeypatch.setattr(late, "SECONDS", 0.0)
    run(tmp_path, 2, monkeypatch, steps=4, draw_every=0)
    assert events == [(what, n) for n in range(1, 5) for what in ("dispatch", "read")] + [
        ("save", 4)
    ]


def test_reading_late_changes_no_bit_and_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr(late, "SECONDS", float("inf"))
    states = {
        ahead: jax.device_get(run(tmp_path / str(ahead), ahead, monkeypatch, steps=23).state)
        for ahead in (0, 2)
    }
    assert equal(states[0], states[2])
    logged = [
        [{k: v for k, v in row.items() if "per_second" not in k} for row in rows(tmp_path / ahead)]
        for ahead in ("0", "2")
    ]
    assert logged[0] == logged[1] and [row["step"] for row in logged[0]] == [10, 20, 23]


@pytest.mark.parametrize("nan_at, saved", [(8, None), (9, None), (10, 10), (15, 10)])
def test_a_loss_that_is_not_finite_is_found_late_and_never_saved(
    nan_at, saved, events, tmp_path, monkeypatch
):
    loader = TinyLoader(8, nan_at=nan_at)
    with pytest.raises(NotFinite, match=f"^step {nan_at + 1}: the loss is nan"):
        run(tmp_path, 2, monkeypatch, loader, steps=20, checkpoint_every=10, draw_every=0)
    assert latest_step(tmp_path / "checkpoints") == saved
    dispatched = [n for what, n in events if what == "dispatch"]
    assert dispatched[-1] <= nan_at + 3


def test_the_seconds_of_chunks_in_flight_are_counted_once(monkeypatch):
    clock = iter([10.0, 11.0, 12.0])
    monkeypatch.setattr(late.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(late, "SECONDS", 100.0)
    taken = []
    reader = Late(lambda step, summaries, seconds: taken.append((step, seconds)), most=2)
    reader.add(0, {}, 9.5)  # the first is waited for
    reader.add(1, {}, 10.0)
    reader.add(2, {}, 10.0)
    reader.settle()
    assert taken == [(0, 0.5), (1, 1.0), (2, 1.0)]


IMAGES_32, IMAGES_64, IMAGES_256 = (128, 32, 32, 3), (64, 64, 64, 3), (64, 256, 256, 3)


@pytest.mark.parametrize(
    "backend, shape, intervals, steps",
    [
        ("cpu", IMAGES_32, (50, 10_000, 10_000, 1_000), 1),
        ("gpu", IMAGES_32, (50, 10_000, 10_000, 1_000), 10),
        ("gpu", IMAGES_32, (7, 49, 0, 0), 7),
        ("gpu", IMAGES_32, (50, 10_000, 10_000, 999), 1),
        ("gpu", IMAGES_64, (50, 10_000, 10_000, 1_000), 5),
        ("tpu", IMAGES_256, (50, 10_000, 10_000, 1_000), 1),
    ],
)
def test_steps_of_a_dispatch_divide_the_intervals_and_fit(
    backend, shape, intervals, steps, monkeypatch
):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    names = ("log_every", "checkpoint_every", "draw_every", "evaluate_every")
    options = loop.TrainOptions(**dict(zip(names, intervals, strict=True)))
    assert loop.steps_at_once(options, {"image": np.zeros(shape, np.float32)}) == steps


def test_steps_that_are_chosen_are_those_of_the_same_number(tmp_path, monkeypatch):
    chosen = dataclasses.replace(OPTIONS, n_jitted_steps="auto", evaluate_every=0, steps=25)
    asked = dataclasses.replace(chosen, n_jitted_steps=10)
    monkeypatch.setattr(loop, "MOST_AT_ONCE", {"": 10})
    states = [
        jax.device_get(loop.fit(TinyTask(), TinyLoader(8), options, tmp_path / name).state)
        for name, options in (("chosen", chosen), ("asked", asked))
    ]
    assert equal(*states)
