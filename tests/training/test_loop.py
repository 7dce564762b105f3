"""The training loop on a tiny task: what it learns, logs, saves, refuses and survives."""

import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from small_disk import closes_its_loop, small_disk  # noqa: F401
from tiny_runs import FAILURES, OPTIONS, equal, rows
from tiny_task import TeacherTask, TinyLoader, TinyTask

from options.errors import InvalidValue, OutOfMemory, StorageError
from options.progress import Bar
from storage import checkpoint, weights
from storage.workdir import Claim, sole_writer
from tasks.task import Context, Task
from training import late, loop
from training.loop import fit
from training.optimizer import Optimizer
from training.program import Program

TESTS = pathlib.Path(__file__).parent.parent


def run(workdir, loader=None, **changes):
    options = dataclasses.replace(OPTIONS, **changes)
    return fit(TinyTask(), loader or TinyLoader(options.batch_size), options, workdir)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbs: (its workdir, its result with the state on the host)."""
    workdir = tmp_path_factory.mktemp("whole")
    result = run(workdir)
    return workdir, dataclasses.replace(result, state=jax.device_get(result.state))


def test_the_loss_falls_to_its_least_value_and_is_logged_per_level(tmp_path):
    """For Gaussian data the least loss at level t is Var(eps | x_t) = 1 / (1 + t^2)."""
    adam = Optimizer(lr=5e-3, warmup=4, decay="cosine", steps=600)
    changes = {"log_every": 200, "checkpoint_every": 0, "optimizer": adam}
    result = run(tmp_path, steps=600, batch_size=512, **changes)
    logged = rows(tmp_path)
    assert [row["step"] for row in logged] == [200, 400, 600]
    last = logged[-1]
    assert last["loss"] == pytest.approx(np.pi / 4, abs=0.02) and logged[0]["loss"] > last["loss"]
    levels = (np.arange(10) + 0.5) / 10
    np.testing.assert_allclose(last["loss_by_level"], 1 / (1 + levels**2), atol=0.06)
    assert last["images_per_second"] == pytest.approx(512 * last["steps_per_second"])
    assert result.steps == 600 and result.stopped == "finished"
    assert checkpoint.latest_step(tmp_path / "checkpoints") == 600


def test_one_step_is_adam_on_the_mean_gradient(tmp_path):
    """Two steps by hand: the first has learning rate 0, the average follows its rule."""
    result = run(tmp_path, steps=2, n_jitted_steps=1)
    task, loader = TinyTask(), TinyLoader(8)
    key = jax.random.key(OPTIONS.seed)
    start = params = ema = task.init(key)
    m = v = jax.tree.map(np.zeros_like, params)
    for n in range(2):
        step_key = jax.random.fold_in(key, n)
        keys = jax.vmap(lambda i, k=step_key: jax.random.fold_in(k, i))(np.arange(8))
        grads = jax.grad(lambda p: task.loss(Context(p), batch, keys)[0])  # noqa: B023
        batch = next(loader)
        g = grads(params)
        norm = np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(g)))
        g = jax.tree.map(lambda x, norm=norm: x * min(1, 1 / norm), g)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, g)

        def move(p, m, v, n=n):
            m_hat, v_hat = m / (1 - 0.9 ** (n + 1)), v / (1 - 0.999 ** (n + 1))
            return p - 1e-2 * n / 4 * m_hat / (np.sqrt(v_hat) + 1e-8)

        params = jax.tree.map(move, params, m, v)
        ema = jax.tree.map(lambda e, p: 0.9 * e + 0.1 * p, ema, params)
        if n == 0:
            assert equal(params, start)
    for ours, expected in ((result.state.params, params), (result.state.ema, ema)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), ours, expected)


def test_what_is_frozen_is_read_and_neither_changed_nor_stored(tmp_path):
    assert isinstance(TeacherTask(), Task)

    def teach(workdir, steps):
        options = dataclasses.replace(OPTIONS, steps=steps)
        return jax.device_get(fit(TeacherTask(), TinyLoader(8), options, workdir).state)

    state = teach(tmp_path / "whole", 20)
    assert equal(state.frozen, TeacherTask().frozen)
    stored = checkpoint.inspect(tmp_path / "whole" / "checkpoints")
    assert "frozen" not in json.dumps(stored, default=str)
    teach(tmp_path / "parts", 10)
    assert equal(teach(tmp_path / "parts", 20), state)
    plain = run(tmp_path / "plain", steps=20).state
    assert not np.allclose(plain.params["second"]["kernel"], state.params["second"]["kernel"])


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, whole):
    """And forgets what was logged after its checkpoint, cut short or not."""
    run(tmp_path, steps=20)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 30, "loss": 0.0}\n{"step": 40, "lo')
    assert equal(run(tmp_path).state, whole[1].state)
    logged = [[r["step"], r["loss"]] for r in rows(tmp_path)]
    assert logged == [[r["step"], r["loss"]] for r in rows(whole[0])]
    assert [step for step, _ in logged] == [10, 20, 30, 40]


def test_a_finished_run_is_left_alone(whole):
    again = run(whole[0])
    assert again.steps == 40 and equal(again.state, whole[1].state)
    assert len(rows(whole[0])) == 4


@pytest.mark.parametrize(
    "changes",
    [{"n_jitted_steps": 1}, {"n_jitted_steps": 10, "steps": 35}, {"microbatch": 2}],
    ids=["single", "uneven", "accumulated"],
)
def test_chunk_length_and_accumulation_do_not_change_the_trajectory(tmp_path, whole, changes):
    result = run(tmp_path, **changes)
    if "steps" in changes:
        result = run(tmp_path)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        whole[1].state.params,
        result.state.params,
    )


def test_the_state_is_donated(tmp_path, monkeypatch):
    given = []
    call = loop.Program.__call__

    def spy(self, state, batches):
        given.append(state)
        return call(self, state, batches)

    monkeypatch.setattr(loop.Program, "__call__", spy)
    run(tmp_path, checkpoint_every=0)  # the CPU's zero-copy read of a state to be saved keeps it
    assert len(given) == 8
    assert all(leaf.is_deleted() for state in given for leaf in jax.tree.leaves(state))


def test_a_checkpoint_in_flight_does_not_see_later_steps(tmp_path, monkeypatch):
    """The state is donated while an asynchronous write of it goes on."""
    averages, call = {}, loop.Program.__call__

    def spy(self, state, batches):
        state, summaries = call(self, state, batches)
        averages[int(state.step)] = jax.tree.map(np.array, state.ema)
        return state, summaries

    monkeypatch.setattr(loop.Program, "__call__", spy)
    run(tmp_path, checkpoint_every=5, keep=8)
    assert sorted(averages) == list(range(5, 41, 5))
    for step, average in averages.items():
        saved, _ = checkpoint.load_ema(tmp_path / "checkpoints", step)
        assert equal(saved, average)


def test_nan_stops_the_run_and_leaves_the_last_good_checkpoint(tmp_path, whole):
    with pytest.raises(FloatingPointError, match="step 28: the loss is nan") as error:
        run(tmp_path, TinyLoader(8, nan_at=27))
    assert "checkpoint of step 20 is intact" in str(error.value)
    assert "lower optim.lr" in str(error.value)
    assert checkpoint.latest_step(tmp_path / "checkpoints") == 20
    assert equal(run(tmp_path).state, whole[1].state)  # goes on from there


def test_a_time_limit_stops_cleanly_and_can_be_resumed(tmp_path, monkeypatch):
    ticks = itertools.count()  # a clock that goes on by 0.1 s whenever it is read
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(monotonic=lambda: 0.1 * next(ticks)))
    stopped = run(tmp_path, steps=100_000, max_seconds=1.0, checkpoint_every=0)
    assert stopped.stopped == "out of time" and 1 <= stopped.seconds < 1.3
    assert checkpoint.latest_step(tmp_path / "checkpoints") == stopped.steps == 15
    again = run(tmp_path, steps=100_000, max_seconds=1.0, checkpoint_every=0)
    assert again.steps == stopped.steps and again.stopped == "out of time"
    goal = stopped.steps + 10
    whole = run(tmp_path / "whole", steps=goal, checkpoint_every=0)
    assert equal(whole.state, jax.device_get(run(tmp_path, steps=goal).state))


class OfTwoShapes(TinyLoader):
    """From the fourth on, batches of another shape come between."""

    def __next__(self):
        size = self.batch_size
        return {"unread": np.zeros((size, 1 + max(self.position - 2, 0) % 2))} | super().__next__()


def test_the_time_of_steps_is_without_that_of_compiling(tmp_path, monkeypatch):
    """Also where batches of another shape come later."""
    compiled, monotonic = [], time.monotonic
    clock = types.SimpleNamespace(monotonic=lambda: monotonic() + 1000 * len(compiled))
    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(late, "time", clock)
    compile_for = Program._compile
    monkeypatch.setattr(Program, "_compile", lambda *of: compiled.append(of) or compile_for(*of))
    run(tmp_path, OfTwoShapes(OPTIONS.batch_size), steps=8, log_every=4, n_jitted_steps=1)
    assert len(compiled) == 2
    assert all(4 / row["steps_per_second"] < 1000 for row in rows(tmp_path))


class Interrupting(TinyLoader):
    """Sends the process a signal when asked for its thirteenth batch."""

    def __next__(self):
        if self.position == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__next__()


def test_sigint_once_saves_and_returns(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    result = run(tmp_path, Interrupting(8), steps=10**9)
    # Batches 10 to 14 are read while steps 5 to 9 are computed, which end the run.
    assert (result.stopped, result.steps) == ("interrupted", 10)
    assert checkpoint.latest_step(tmp_path / "checkpoints") == 10
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("where", ["init", "draw"])
def test_sigint_before_the_first_step_or_in_a_picture_waits_for_neither(where, tmp_path):
    class Long(TinyTask):
        def interrupt(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)

        def init(self, key):
            if where == "init":
                self.interrupt()
            return super().init(key)

        def draw(self, context, key):
            self.interrupt()

    options = dataclasses.replace(OPTIONS, draw_every=10)
    before, began = signal.getsignal(signal.SIGINT), time.monotonic()
    if where == "init":
        with pytest.raises(KeyboardInterrupt):
            fit(Long(), TinyLoader(8), options, tmp_path)
    else:
        result = fit(Long(), TinyLoader(8), options, tmp_path)
        assert (result.stopped, result.steps) == ("interrupted", 10)
        assert checkpoint.latest_step(tmp_path / "checkpoints") == 10
    assert time.monotonic() - began < 50 and signal.getsignal(signal.SIGINT) is before


def test_a_run_goes_on_with_other_data_by_force_only(tmp_path, capsys):
    class Grown(TinyLoader):
        def restore(self, state):
            raise InvalidValue("data", but="the run was saved with examples 12, mine has 15")

    run(tmp_path, steps=5)
    options = dataclasses.replace(OPTIONS, steps=10)
    with pytest.raises(InvalidValue, match="^data: the run .* mine has 15. --force goes on with"):
        fit(TinyTask(), Grown(8), options, tmp_path)
    loader = Grown(8)
    assert fit(TinyTask(), loader, options, tmp_path, Claim(force=True)).steps == 10
    assert "warning: data: the run was saved with examples 12" in capsys.readouterr().out
    assert loader.position == 5  # from its beginning


def test_a_run_that_is_refused_leaves_the_config_of_the_one_that_trains(tmp_path):
    run(tmp_path, steps=5)
    (tmp_path / "config.json").write_text('{"nf": 8}')
    with sole_writer(tmp_path), pytest.raises(StorageError, match="another run is training"):
        fit(TinyTask(), TinyLoader(8), OPTIONS, tmp_path, Claim({"nf": 16}, force=True))
    assert json.loads((tmp_path / "config.json").read_text()) == {"nf": 8}


class WiderTask(TinyTask):
    """With a parameter that no checkpoint of a TinyTask has."""

    def init(self, key):
        return super().init(key) | {"third": np.zeros(1, np.float32)}


class FailingTask(TinyTask):
    """That does not fit, which is known once it is compiled."""

    def loss(self, context, batch, keys):
        raise OutOfMemory("training.microbatch")


class OtherData(TinyLoader):
    def restore(self, state):
        raise InvalidValue("data", but="these are others")


@pytest.mark.parametrize(
    ("task", "loader", "force", "changes", "message"),
    [
        (WiderTask(), TinyLoader(8), True, {}, "checkpoint"),
        (TinyTask(), OtherData(8), False, {}, "--force goes on"),
        (TinyTask(), TinyLoader(7), True, {"batch_size": 8, "microbatch": 3}, "microbatch"),
        (FailingTask(), TinyLoader(8), True, {}, "microbatch"),
    ],
    ids=["another network", "other data", "batches", "memory"],
)
def test_a_run_that_fails_at_its_start_leaves_the_config_as_it_was(
    task, loader, force, changes, message, tmp_path
):
    run(tmp_path, steps=5)
    (tmp_path / "config.json").write_text('{"nf": 8}')
    options = dataclasses.replace(OPTIONS, **changes)
    claim = Claim({"nf": 16}, force, free=["nf"], read=lambda _: {"nf": 8})
    with pytest.raises((ValueError, MemoryError, OSError), match=message):
        fit(task, loader, options, tmp_path, claim)
    assert json.loads((tmp_path / "config.json").read_text()) == {"nf": 8}


def test_a_new_run_that_fails_at_its_start_leaves_no_config(tmp_path):
    options = dataclasses.replace(OPTIONS, init_from=str(tmp_path / "missing"))
    with pytest.raises(StorageError, match="init_from"):
        fit(TinyTask(), TinyLoader(8), options, tmp_path / "run", Claim({"nf": 16}))
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_path_that_cannot_be_read_back_is_refused_with_nothing_made(tmp_path):
    with pytest.raises(InvalidValue, match="^workdir: got .* cannot be read back"):
        run(tmp_path / "run [1]")
    assert not list(tmp_path.iterdir())


class FailingTask(TinyTask):
    """Its plots fail, the first one at step 20, after a checkpoint of that step."""

    def __init__(self, error, workdir):
        self.error, self.checkpoints, self.asked = error, workdir / "checkpoints", []

    def draw(self, context, key):
        self.asked.append(context.step)
        assert (self.checkpoints / str(context.step)).is_dir()
        raise self.error


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
def test_a_picture_that_fails_is_said_and_training_goes_on(error, tmp_path, capsys):
    options = dataclasses.replace(OPTIONS, draw_every=20, checkpoint_every=40)
    task = FailingTask(error, tmp_path)
    assert fit(task, TinyLoader(8), options, tmp_path).steps == 40 and task.asked == [20, 40]
    said = [line for line in capsys.readouterr().out.splitlines() if "no picture" in line]
    assert len(said) == 2 and said[0].startswith("step 20: no picture, training goes on: ")
    assert str(error).splitlines()[0] in said[0] and "training.draw_every" in said[0]


def test_a_fault_of_the_program_in_a_picture_is_raised(tmp_path):
    options = dataclasses.replace(OPTIONS, draw_every=20)
    with pytest.raises(KeyError):
        fit(FailingTask(KeyError("kernel"), tmp_path), TinyLoader(8), options, tmp_path)


def test_what_takes_long_is_said_while_it_is_done(tmp_path, monkeypatch):
    """Also at the last step, after which the bar moves no more."""
    said, at_work, doing = [], [], Bar.doing
    monkeypatch.setattr(Bar, "doing", lambda bar, what: said.append(what) or doing(bar, what))
    monkeypatch.setattr(TinyTask, "draw", lambda *context: at_work.append(list(said)) or {})
    run(tmp_path, steps=20, draw_every=20)
    ((*before, now),) = at_work
    assert now == "drawing" and "compiling" in before and said[-1] == ""


def test_pictures_go_to_the_workdir(tmp_path):
    result = run(tmp_path, draw_every=20)
    names = sorted(p.name for p in (tmp_path / "pictures").iterdir())
    assert names == ["weights-00000020.png", "weights-00000040.png"]
    picture = np.asarray(Image.open(tmp_path / "pictures" / names[-1]))
    drawn = TinyTask().draw(Context(result.state.ema), None)
    np.testing.assert_array_equal(picture, drawn["weights"])
    assert list((tmp_path / "tensorboard").iterdir())


def test_init_from_takes_the_average_of_another_run(tmp_path, whole, capsys):
    # The first step has learning rate 0.
    tuned = run(tmp_path, init_from=str(whole[0]), steps=1, n_jitted_steps=1)
    assert equal(tuned.state.params, whole[1].state.ema)
    said = capsys.readouterr().out
    assert "3 parameters fit, 100 % (2,560 of 2,560 numbers): " in said and "warning" not in said
    assert "first/kernel" not in said
    assert "loaded  first/kernel\n" in (tmp_path / "init_from.txt").read_text()


def test_init_from_warns_where_most_is_new(tmp_path, capsys):
    params = TinyTask().init(jax.random.key(0))
    params["first"] = {"kernel": jnp.zeros((6, 256))}
    weights.export_weights(tmp_path / "other.npz", params)
    run(tmp_path / "run", init_from=str(tmp_path / "other.npz"), steps=1, n_jitted_steps=1)
    said = capsys.readouterr().out
    assert "\nwarning: 40 % (1,024 of 2,560 numbers) of this network is from" in said
    listed = (tmp_path / "run" / "init_from.txt").read_text().splitlines()
    assert listed == [
        "           loaded  second/kernel",
        "           unused  first/kernel (6, 256) (this network's is (5, 256))",
        "newly initialised  first/bias (256,) (not in the source)",
        "newly initialised  first/kernel (5, 256) (the source's is (6, 256))",
    ]


def test_a_mistyped_init_from_is_refused_before_the_folder_is_claimed(tmp_path, whole):
    near = whole[0].with_name(whole[0].name[:-1])
    with pytest.raises(StorageError, match=r"^training.init_from: .*; did you mean '.*whole0'\?"):
        run(tmp_path / "new", init_from=str(near))
    (tmp_path / "images.npz").write_bytes(b"")
    with pytest.raises(StorageError, match="^training.init_from: .*images.npz cannot be read"):
        run(tmp_path / "new", init_from=str(tmp_path / "images.npz"))
    assert not (tmp_path / "new").exists()
    run(tmp_path / "new", steps=5)
    assert (
        run(tmp_path / "new", init_from=str(near), steps=10).steps == 10
    )  # only a new run reads it


def test_the_microbatch_is_kept_in_the_checkpoint(tmp_path):
    run(tmp_path, steps=20, microbatch=4)
    run(tmp_path, microbatch="auto")
    record = checkpoint.inspect(tmp_path / "checkpoints")["meta"]
    assert record["microbatch"] == 4
    assert record["data"] == {"position": 40}


def test_auto_accumulates_when_memory_is_short(tmp_path, capsys):
    whole = run(tmp_path / "whole", batch_size=256, steps=10)
    result = run(tmp_path / "short", batch_size=256, steps=10, device_memory=450_000)
    record = checkpoint.inspect(tmp_path / "short" / "checkpoints")["meta"]
    assert 1 < record["microbatch"] < 256
    assert "needs" in capsys.readouterr().out
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        whole.state.params,
        result.state.params,
    )


@closes_its_loop
def test_a_full_disk_stops_the_run_and_leaves_the_last_good_checkpoint(small_disk, tmp_path):  # noqa: F811
    """The disk fills up while the run goes on; with room again, it ends as if nothing had been."""

    folder = small_disk / "run" / "checkpoints"

    class Filling(TinyLoader):
        def __next__(self):
            if self.position == 22:
                wait_until(lambda: checkpoint.latest_step(folder) == 20)
                free = shutil.disk_usage(small_disk).free
                (small_disk / "filler").write_bytes(b"x" * (free - 20_000))
            return super().__next__()

    with pytest.raises(OSError, match="written"):
        run(small_disk / "run", Filling(8), n_jitted_steps=1)
    assert checkpoint.latest_step(folder) == 20
    (small_disk / "filler").unlink()
    whole = run(tmp_path / "whole", n_jitted_steps=1)
    assert equal(whole.state, jax.device_get(run(small_disk / "run", n_jitted_steps=1).state))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "^steps: got 0"),
        ({"log_every": 0}, "^log_every: got 0, expected at least 1"),
        ({"log_every": 7}, "^log_every: got 7, expected a multiple"),
        ({"checkpoint_every": 12}, "^checkpoint_every: got 12"),
        ({"strategy": "ddp"}, "^strategy: got 'ddp', expected one of"),
        ({"microbatch": "all"}, "^microbatch: got 'all'"),
        ({"microbatch": 3}, "training.microbatch: got 3, expected a divisor of the 8 examples"),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        run(tmp_path, **changes)


def test_a_workdir_of_another_config_is_refused(tmp_path):
    fit(TinyTask(), TinyLoader(8), OPTIONS, tmp_path, Claim({"a": {"b": 1}}))
    with pytest.raises(ValueError, match="a.b was 1, now 2"):
        fit(TinyTask(), TinyLoader(8), OPTIONS, tmp_path, Claim({"a": {"b": 2}}))


def test_sigterm_saves_and_exits_zero(tmp_path):
    """A run in its own process, told to stop in the middle."""
    entries = {"workdir": str(tmp_path), "steps": 10**6, "batch_size": 8, "checkpoint_every": 10}
    with start(entries | {"out": str(tmp_path / "out.npz"), "sleep": 0.02}) as process:
        wait_until(lambda: checkpoint.latest_step(tmp_path / "checkpoints"), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 0
    with np.load(tmp_path / "out.npz") as out:
        assert str(out["stopped"]) == "terminated"
        assert checkpoint.latest_step(tmp_path / "checkpoints") == int(out["step"]) >= 10


@pytest.mark.slow
def test_killed_at_any_instant_a_run_ends_with_the_same_bits(tmp_path):
    """SIGKILL at 20 random instants, from the start of the program to the middle of a write."""
    entries = {"steps": 600, "batch_size": 8, "n_jitted_steps": 5, "checkpoint_every": 5}
    entries |= {"log_every": 5, "sleep": 0.01}
    assert (
        start(entries | {"workdir": f"{tmp_path}/whole", "out": f"{tmp_path}/whole.npz"}).wait(300)
        == 0
    )
    rng = np.random.default_rng(0)
    folder, reached = tmp_path / "killed" / "checkpoints", []
    for _ in range(20):
        with start(entries | {"workdir": f"{tmp_path}/killed"}) as process:
            if rng.random() < 0.8:  # most of them while it trains and saves
                before = max(reached, default=0)
                wait_until(lambda: (checkpoint.latest_step(folder) or 0) > before, process)  # noqa: B023
                time.sleep(rng.uniform(0.0, 0.3))
            else:
                time.sleep(rng.uniform(0.0, 4.0))
            process.kill()
        reached.append(checkpoint.latest_step(folder) or 0)
    assert reached == sorted(reached) and 0 < reached[-1] < 600, reached
    assert (
        start(entries | {"workdir": f"{tmp_path}/killed", "out": f"{tmp_path}/out.npz"}).wait(300)
        == 0
    )
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "out.npz") as killed:
        assert all(np.array_equal(whole[name], killed[name]) for name in whole.files)
    losses = [[row["step"], row["loss"]] for row in rows(tmp_path / "killed")]
    assert losses == [[row["step"], row["loss"]] for row in rows(tmp_path / "whole")]


def start(entries):
    command = [sys.executable, str(TESTS / "run_tiny.py"), json.dumps(entries)]
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def wait_until(condition, process=None, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
