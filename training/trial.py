"""Some steps of a training, to see what it takes, without a trace on the disk."""

import time
from typing import NamedTuple

import jax

from options.memory import device_memory
from options.progress import busy
from tasks.task import Task
from training import loop, parallel
from training.expectation import TIMED
from training.loop import Loader, Progress, TrainOptions

MOST_STEPS = 100


class Trial(NamedTuple):
    """What a training takes.

    Attributes:
      needs: bytes of a device, by XLA's memory analysis of the compiled step. has: that it has.
      reason: the microbatch, and why.
      steps, seconds: that were timed, the first dispatch left out.
    """

    needs: int
    has: int
    reason: str
    steps: int
    seconds: float


def trial(task: Task, loader: Loader, options: TrainOptions, seconds: float = TIMED) -> Trial:
    """Compiles the training step of a new run as `loop.fit` does, and times it on what the loader
    reads, for about so many seconds and at most MOST_STEPS steps.

    OutOfMemory where no microbatch fits.
    """
    strategy = parallel.STRATEGIES[options.strategy](parallel.make_mesh())
    per_device = loop.examples_per_device(options, jax.device_count())
    state = loop.new_state(task, options)
    state = parallel.place(state, strategy.sharding(state))
    program = loop.make_program(task, options, strategy, per_device, Progress({}, None, 0.0))
    chunks = loop.read_chunks(loader, strategy, options, 0)
    with busy("compiling the training step"):
        first = next(chunks)
        program.prepare(state, first.batches)
    state, summaries = program(state, first.batches)
    jax.block_until_ready(summaries)
    steps, spent = 0, 0.0
    with busy("timing training steps"):
        while steps < MOST_STEPS and (not steps or spent < seconds):
            chunk = next(chunks, first)
            program.prepare(state, chunk.batches)  # of another shape than those before
            began = time.monotonic()
            state, summaries = program(state, chunk.batches)
            jax.block_until_ready(summaries)
            spent += time.monotonic() - began
            steps += chunk.steps
    has = options.device_memory or device_memory()
    return Trial(program.footprint, has, program.reason, steps, spent)
