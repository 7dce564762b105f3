"""The one training loop, for every task.

A task (parameters, loss, plots), a loader of batches and measurements of the averaged parameters
are all it knows; images, processes and configs are theirs. n steps are one dispatch of one compiled
program; between dispatches the host logs, saves, measures and listens for signals. A run is a
function of its options: stopped anywhere and resumed, on the same devices, it ends with the same
bits.
"""

import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from options.choices import (
    choose,
    require,
    require_at_least_one,
    require_count,
    require_non_negative,
)
from options.errors import InvalidValue, NotFinite, within
from options.fields import chosen, hidden
from options.memory import AUTO, device_memory, number_or_auto
from options.progress import busy
from storage import weights
from storage.checkpoint import Checkpoints, latest_step
from storage.files import atomic_write
from storage.workdir import (
    NO_CLAIM,
    Claim,
    prepare_workdir,
    remember,
    require_own,
    require_space,
    sole_writer,
)
from tasks.task import Task
from training import microbatch, parallel
from training.ema import EMA
from training.interrupts import Interrupts
from training.late import Late
from training.measurements import SURVIVED, Measurement, Measuring, first_line
from training.optimizer import Optimizer
from training.parallel import Parallelism, State
from training.program import Program, return_free_memory
from training.telemetry import Telemetry
from training.trackers import TRACKERS, NoTracker, Tracker
from training.writers import NOTHING

PyTree = Any
MOST_BYTES = 2**63 - 1
# Steps of one dispatch where that is chosen: by backend, "" for any other; bytes of their batches.
MOST_AT_ONCE, BYTES_AT_ONCE = {"cpu": 1, "": 10}, 2**24
AHEAD = 2  # chunks that may be in flight beside the one whose summaries are read
DRAW = 2**32 - 1  # folded into the run's key for plots; no step has this number


class Stop(StrEnum):
    """Why a run ends: at its last step, by max_seconds or a limit of CPU time, by SIGTERM, or by
    SIGINT, as Ctrl-C sends it. The later one prevails."""

    FINISHED = "finished"
    TIME = "out of time"
    TERMINATED = "terminated"
    INTERRUPTED = "interrupted"


BY_SIGNAL: dict[int, Stop] = {
    signal.SIGXCPU: Stop.TIME,
    signal.SIGTERM: Stop.TERMINATED,
    signal.SIGINT: Stop.INTERRUPTED,
}


@runtime_checkable
class Loader(Protocol):
    """Host-local batches for ever, from a position that can be saved."""

    def __next__(self) -> Mapping[str, Any]: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class TrainOptions:
    """How a run goes. Intervals are in steps; log_every, checkpoint_every and draw_every are
    multiples of n_jitted_steps. All but log_every may be 0 for never (the end of a run is saved
    anyway).

    Attributes:
      steps: updates of the parameters in all, over all resumptions.
      batch_size: examples of one step over all devices of all hosts.
      strategy: "shard_map" or "pmap", with the state on every device, or "fsdp", which splits it
        over the devices.
      n_jitted_steps: steps of one dispatch of the compiled program, or "auto": 1 on a CPU; else as
        many as divide the intervals, at most 10, fewer for large batches.
      microbatch: examples a device differentiates at once, all of its own where they are fewer; or
        "auto": the most that fit.
      deterministic: compile for the same bits on every run, also on a GPU, where that costs speed.
      device_memory: bytes that "auto" may use on a device; 0 asks the device.
      evaluate_every: steps between two measurements of the loss of held-out examples, beside that
        of training examples; made where the n_jitted_steps end that have the step, and at the last
        step of a run that is no shorter. 0 for never.
      evaluate_examples: how many of each; fewer where there are fewer.
      log_every: steps between two lines of the log.
      checkpoint_every: steps between two checkpoints.
      draw_every: steps between two plots of what the averaged parameters draw.
      keep, keep_every: the newest checkpoints kept, and the steps whose multiples are kept too.
      max_seconds: stop, with a checkpoint, after so much time in this loop, compilation and plots
        included, over all resumptions; 0 for no limit.
      init_from: weights or the workdir of a run to start from (see `weights.init_from`); only a
        new run reads it.
      tracker: the service that follows the run beside metrics.jsonl and TensorBoard.
      unit: what an example is called in the logs.
    """

    steps: int = 1_300_001
    batch_size: int = 128
    seed: int = hidden(0)
    optimizer: Optimizer = hidden(Optimizer())
    ema: EMA = hidden(EMA())
    strategy: str = "shard_map"
    n_jitted_steps: str | int = AUTO
    deterministic: bool = False
    microbatch: str | int = AUTO
    device_memory: int = 0
    log_every: int = 50
    checkpoint_every: int = 10_000
    draw_every: int = 10_000
    evaluate_every: int = 1_000
    evaluate_examples: int = 512
    keep: int = 2
    keep_every: int = 50_000
    max_seconds: float = 0.0
    init_from: str = ""
    tracker: Tracker = chosen(TRACKERS, NoTracker())
    unit: str = hidden("images")

    def __post_init__(self) -> None:
        # What is not logged yet is kept in memory.
        require_at_least_one(self, "steps", "batch_size", "keep", "log_every", "evaluate_examples")
        require_non_negative(self, "evaluate_every", "keep_every", "max_seconds")
        require_non_negative(self, "device_memory", most=MOST_BYTES)
        for name in ("log_every", "checkpoint_every", "draw_every"):
            every, jitted = getattr(self, name), self.steps_at_once or 1
            require_count(name, every, 0)
            fits = every % jitted == 0
            require(fits, name, every, f"a multiple of training.n_jitted_steps = {jitted}")
        choose(parallel.STRATEGIES, self.strategy, "strategy")
        self.examples_at_once(self.batch_size)  # its own check

    def examples_at_once(self, per_device: int) -> int | None:
        """The microbatch of a device that has so many examples, if it is a number."""
        size = number_or_auto(self.microbatch, "microbatch")
        return None if size is None else min(size, per_device)

    @property
    def steps_at_once(self) -> int | None:
        """The steps of one dispatch, if that is a number."""
        return number_or_auto(self.n_jitted_steps, "n_jitted_steps")


@dataclass(frozen=True)
class Progress:
    """What a checkpoint holds beside the state.

    data: the loader's position. microbatch: examples a device differentiates at once, None while
    not chosen. seconds: of the run so far, over all resumptions.
    """

    data: dict[str, Any]
    microbatch: int | None
    seconds: float


@dataclass(frozen=True)
class Result:
    """The end of a run. seconds: of the run, over all resumptions."""

    state: State
    steps: int
    seconds: float
    stopped: Stop


def fit(
    task: Task,
    loader: Loader,
    options: TrainOptions,
    workdir: str | Path,
    claim: Claim = NO_CLAIM,
    measurements: Sequence[Measurement] = (),
) -> Result:
    """Train, or go on training, in `workdir`, and leave a checkpoint of the end there.

    The measurements are made of the averaged parameters, see `Measuring.due`, and logged; the
    training is the same with any of them.

    Raises NotFinite if the loss or the gradient is no longer finite, OSError if the folder cannot
    be written, InvalidValue if the options do not suit the devices or the folder, NotInstalled if
    the tracker's package is missing.
    """
    options.tracker.require()
    require_beginning(options, Path(workdir) / "checkpoints")
    workdir = prepare_workdir(workdir)
    with sole_writer(workdir):  # a run that is refused leaves the config of the one that trains
        require_own(workdir, claim)
        print(*claim.about, sep="\n", end="\n" if claim.about else "")
        return _fit(task, loader, options, workdir, measurements, claim)


def _fit(
    task: Task,
    loader: Loader,
    options: TrainOptions,
    workdir: Path,
    measurements: Sequence[Measurement],
    claim: Claim,
) -> Result:
    """`fit` in a workdir that may be this run's; its config is written once a step can be made."""
    strategy = parallel.STRATEGIES[options.strategy](parallel.make_mesh())
    per_device = examples_per_device(options, jax.device_count())
    with (
        Interrupts(alone=jax.process_count() == 1) as interrupts,
        Checkpoints(workdir / "checkpoints", options.keep, options.keep_every) as checkpoints,
    ):
        with busy("making or reading the parameters"):
            state, record = first_state(task, loader, options, strategy, checkpoints, claim.force)
        return_free_memory()  # of initialisation, before compilation needs its own
        require_space(workdir, 2 * sum(x.nbytes for x in jax.tree.leaves(state)))
        program = make_program(task, options, strategy, per_device, record)
        started = time.monotonic() - record.seconds
        step, stopped = int(state.step), why_stop(options, interrupts, record.seconds)
        chunks = read_chunks(loader, strategy, options, step)
        upcoming = next(chunks, None) if stopped is Stop.FINISHED else None
        with open_log(workdir, step, options, claim) as log:
            measuring = Measuring(measurements, log, options.steps)
            if upcoming is not None:
                log.say("compiling the training step")
                with log.doing("compiling"):
                    program.prepare(state, upcoming.batches)
                    measuring.begin()
                with log.doing("measuring"):
                    measuring(measuring.due(step), step, state, program.examples_at_once)
                log.begin(program.reason)
                interrupts.finish_steps()
            elif step == options.steps and record.microbatch:
                # What a run that was killed after its last step had still to measure.
                measuring(measuring.due(step), step, state, record.microbatch)
            remember(workdir, claim)
            # Several processes have to stop at the same chunk where a loss is not finite.
            ahead = AHEAD if jax.process_count() == 1 else 0
            late = Late(partial(take, options, log, checkpoints, started), ahead)
            while upcoming is not None and stopped is Stop.FINISHED:
                chunk = upcoming
                if not program.is_prepared(chunk.batches):
                    late.settle()  # the time that steps take is without that of compiling
                    with log.doing("compiling"):
                        program.prepare(state, chunk.batches)
                began = time.monotonic()
                state, summaries = program(state, chunk.batches)
                upcoming = next(chunks, None)  # read by the host while the devices compute
                late.add(step, summaries, began)
                step += chunk.steps
                stopped = why_stop(options, interrupts, time.monotonic() - started)
                last = step == options.steps or stopped is not Stop.FINISHED
                draws = due(step, options.draw_every, options.steps)
                # What is due of a run that stops here, it measures when it is resumed.
                measured = measuring.due(step) if stopped is Stop.FINISHED else []
                risky = draws or any(m.is_heavy for m in measured)
                saves = last or risky or due(step, options.checkpoint_every)
                if saves or measured:
                    late.settle()  # what is saved or measured is known to be finite
                record = Progress(chunk.position, program.microbatch, time.monotonic() - started)
                if last and not due(step, options.log_every):
                    log.flush(step)
                if saves:
                    with log.doing("saving"):
                        checkpoints.save(step, stored(state), state.ema, asdict(record))
                if risky:
                    checkpoints.wait()  # should it take the last of the memory
                with interrupts.at_once(risky):
                    if measured:
                        with log.doing("measuring"):
                            measuring(measured, step, state, program.examples_at_once)
                    if draws:
                        with log.doing("drawing"):
                            draw(task, state, log, step)
                if risky:
                    stopped = why_stop(options, interrupts, record.seconds)
    return Result(state, step, record.seconds, stopped)


def open_log(workdir: Path, step: int, options: TrainOptions, claim: Claim) -> Telemetry:
    """The logs of the run at `step`; the first process has the tracker write too."""
    first = jax.process_index() == 0
    tracked = options.tracker.open(workdir, claim.config) if first else NOTHING
    return Telemetry(workdir, step, options.steps, options.batch_size, options.unit, tracked)


def take(
    options: TrainOptions,
    log: Telemetry,
    checkpoints: Checkpoints,
    started: float,
    step: int,
    summaries: Mapping[str, np.ndarray],
    seconds: float,
) -> None:
    """Check and log the summaries of the chunk after `step`."""
    require_finite(summaries, step, checkpoints)
    left = options.max_seconds + started - time.monotonic() if options.max_seconds else None
    log.record(summaries, seconds, left)
    step += len(summaries["loss"])
    if due(step, options.log_every):
        log.flush(step)


def due(step: int, every: int, last: int = 0) -> bool:
    """Whether something done every so many steps (0: never), and at the last one, is due."""
    return every > 0 and (step % every == 0 or step == last)


def examples_per_device(options: TrainOptions, devices: int) -> int:
    """How many examples of the global batch each of the devices gets."""
    if options.batch_size % devices:
        expected = f"a multiple of the {devices} devices"
        raise InvalidValue("training.batch_size", options.batch_size, expected)
    per_device = options.batch_size // devices
    size = options.examples_at_once(per_device)
    if size and per_device % size:
        expected = f"a divisor of the {per_device} examples per device"
        raise InvalidValue("training.microbatch", size, expected)
    return per_device


def stored(state: State) -> dict[str, PyTree]:
    """What a checkpoint holds of the state; the average goes beside it, what is frozen nowhere."""
    kept = state._replace(ema=())._asdict()
    del kept["frozen"]
    return kept


def first_state(
    task: Task,
    loader: Loader,
    options: TrainOptions,
    strategy: Parallelism,
    checkpoints: Checkpoints,
    force: bool = False,
) -> tuple[State, Progress]:
    """The state to begin with and its record: the newest checkpoint's, or new ones.

    The loader is moved to the data position of the checkpoint. Where that is one of other data,
    InvalidValue; with `force`, the loader stays at its beginning.
    """
    if checkpoints.steps():
        shapes = jax.eval_shape(
            lambda key: at_step_0(task, options, task.init(key)), jax.random.key(0)
        )
        template = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            shapes,
            strategy.sharding(shapes),
        )
        restored = checkpoints.restore(stored(template), template.ema)
        assert restored is not None
        move(loader, restored.meta["data"], force)
        frozen = parallel.place(task.frozen, strategy.sharding(task.frozen))
        rest = {"ema": restored.ema, "frozen": frozen}
        return State(**restored.state | rest), Progress(**restored.meta)
    state = new_state(task, options)
    if options.init_from:
        with of_init_from():
            params, report = weights.init_from(state.params, options.init_from)
        if jax.process_index() == 0:
            say_what_fits(options.init_from, report, checkpoints.folder.with_name("init_from.txt"))
        state = state._replace(params=params, ema=params)
    return parallel.place(state, strategy.sharding(state)), Progress({}, None, 0.0)


def of_init_from() -> AbstractContextManager[None]:
    """Inside, what is wrong with weights is wrong with `training.init_from`."""
    return within("training", weights="init_from")


def require_beginning(options: TrainOptions, checkpoints: Path) -> None:
    """StorageError where a new run is to begin with weights that there are not."""
    if options.init_from and latest_step(checkpoints) is None:
        with of_init_from():
            weights.require_source(options.init_from)


def say_what_fits(source: str, report: weights.Report, to: Path) -> None:
    """What became of the parameters in a line, a warning if most are new, and each in a file."""
    with atomic_write(to, "w") as file:
        file.write(f"{report}\n")
    print(f"init_from {source}: {report.summary()}: {to}")
    if 2 * report.fitting < report.total:
        print(
            f"warning: {report.fraction} of this network is from {source}, less than half: was it "
            "trained with another `model`, `conditions` or `data.num_channels`?"
        )


def move(loader: Loader, position: dict[str, Any], force: bool) -> None:
    """Moves the loader to a saved position; if that is of other data, only `force` goes on."""
    try:
        loader.restore(position)
    except InvalidValue as error:
        if not force:
            but = (
                f"{error}. --force goes on with these data from their beginning; "
                "training.init_from begins a new run with the weights of this one"
            )
            raise InvalidValue("", but=but) from None
        print(f"warning: {error}; these data are read from their beginning")


# Parameters are made once: on a CPU optimising their program takes longer than running it, four
# times as long for a small network.
MADE_ONCE = {"cpu": {"xla_backend_optimization_level": 0}}


def new_state(task: Task, options: TrainOptions) -> State:
    """Step 0: new parameters, their average, empty moments, the run's key and what is frozen."""
    init = jax.jit(task.init, compiler_options=MADE_ONCE.get(jax.default_backend()))
    return at_step_0(task, options, init(jax.random.key(options.seed)))


def at_step_0(task: Task, options: TrainOptions, params: PyTree) -> State:
    """The state that begins with these parameters."""
    key = jax.random.key_data(jax.random.key(options.seed))
    opt_state = options.optimizer.transformation().init(params)
    return State(jnp.int32(0), params, opt_state, params, key, task.frozen)


def make_program(
    task: Task, options: TrainOptions, strategy: Parallelism, per_device: int, record: Progress
) -> Program:
    """The program of this run, with the microbatch asked for, or the checkpoint's, or open."""
    size, why = options.examples_at_once(per_device), "as asked for"
    if size is None and record.microbatch and per_device % record.microbatch == 0:
        size, why = record.microbatch, "as the checkpoint has it"
    budget = options.device_memory or device_memory()
    optimizer, ema = options.optimizer, options.ema
    plan = microbatch.Plan(per_device, size, why, budget)
    return Program(task, optimizer, ema, strategy, plan, options.deterministic)


@dataclass(frozen=True)
class Chunk:
    """The batches of one dispatch, on the devices, and the data position after them."""

    steps: int
    batches: PyTree
    position: dict[str, Any]


def read_chunks(
    loader: Loader, strategy: Parallelism, options: TrainOptions, step: int
) -> Iterator[Chunk]:
    """The chunks from `step` to the end, cut at multiples of `steps_at_once`."""
    if step == options.steps:
        return
    first = [next(loader)]
    at_once = options.steps_at_once or steps_at_once(options, first[0])
    while step < options.steps:
        n = min(at_once - step % at_once, options.steps - step)
        batches = first + [next(loader) for _ in range(n - len(first))]
        position = loader.state()
        yield Chunk(n, strategy.put(jax.tree.map(lambda *x: np.stack(x), *batches)), position)
        first, step = [], step + n


def steps_at_once(options: TrainOptions, batch: PyTree) -> int:
    """How many steps like this, of a batch on the host, are one dispatch where that is "auto".

    On an accelerator as many as divide every interval, at most MOST_AT_ONCE, whose batches are at
    most BYTES_AT_ONCE on a device: what is so small is computed in less time than the host needs.
    """
    bytes_each = sum(x.nbytes for x in jax.tree.leaves(batch)) / jax.local_device_count()
    most = min(
        MOST_AT_ONCE.get(jax.default_backend(), MOST_AT_ONCE[""]), BYTES_AT_ONCE / bytes_each
    )
    intervals = options.log_every, options.checkpoint_every, options.draw_every
    common = math.gcd(*intervals, options.evaluate_every)
    return max(n for n in range(1, common + 1) if common % n == 0 and n <= max(most, 1))


def require_finite(
    summaries: Mapping[str, np.ndarray], step: int, checkpoints: Checkpoints
) -> None:
    """NotFinite, with what to try, if the loss or gradient of a step is not finite."""
    finite = np.isfinite(summaries["loss"]) & np.isfinite(summaries["gradient_norm"])
    if finite.all():
        return
    i = int(np.argmin(finite))
    checkpoints.wait()
    steps = checkpoints.steps()
    kept = f"the checkpoint of step {steps[-1]} is intact" if steps else "no checkpoint was due yet"
    but = (
        f"the loss is {summaries['loss'][i]}, its gradient's norm "
        f"{summaries['gradient_norm'][i]}; {kept}. Try a lower optim.lr, a longer optim.warmup, "
        "a smaller optim.grad_clip, float32 if the network computes in bfloat16, or look for "
        "values out of range in the data"
    )
    raise NotFinite(f"step {step + i + 1}", but=but)


def why_stop(options: TrainOptions, interrupts: Interrupts, seconds: float) -> Stop:
    """The reason to stop now; FINISHED: none, go on to the last step. Every process agrees."""
    if interrupts.received:
        reason = BY_SIGNAL[interrupts.received]
    elif 0 < options.max_seconds <= seconds:
        reason = Stop.TIME
    else:
        reason = Stop.FINISHED
    reasons = list(Stop)
    return reasons[parallel.largest(reasons.index(reason))]


def draw(task: Task, state: State, log: Telemetry, step: int) -> None:
    """Show the task's plots, of the averaged parameters and the same key each time.

    Plots that cannot be made, are not finite, do not fit or cannot be written are said to be
    missing: the training is sound without them. A fault of the program is raised.
    """
    context = parallel.averaged(state)
    if not log.active:
        return
    key = jax.random.fold_in(jax.random.wrap_key_data(parallel.to_host(state.key)), DRAW)
    try:
        log.pictures(step, task.draw(context, key))
    except SURVIVED as error:
        log.say(
            f"step {step}: no picture, training goes on: {first_line(error)}. Change `sampling`, "
            "or ask for none by training.draw_every=0"
        )
