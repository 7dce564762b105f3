"""A run of the tiny task in a process of its own: `python run_tiny.py '{"workdir": ...}'`.

Entries beside the fields of TrainOptions: workdir, out (an .npz for the final parameters, average
and step), teacher (the task with one), lr, sleep (seconds per batch), measure (steps between
measurements), coordinator, processes, process.
"""

import json
import sys
import time

import jax
import numpy as np
from tiny_task import StatisticsTask, TeacherTask, TinyLoader, TinyMeasurement

from storage import weights
from training import loop, parallel
from training.ema import EMA
from training.optimizer import Optimizer


class SlowLoader(TinyLoader):
    sleep = 0.0

    def __next__(self):
        time.sleep(self.sleep)
        return super().__next__()


def main(
    workdir, out=None, teacher=False, lr=1e-2, sleep=0.0, measure=0, coordinator=None, processes=1,
    process=0, **fields,
):  # fmt: skip
    if coordinator:
        parallel.Cluster(coordinator, processes, process).join()
    optimizer = Optimizer(lr=lr, warmup=4)
    options = loop.TrainOptions(optimizer=optimizer, ema=EMA(0.9, warmup=True), **fields)
    loader = SlowLoader(options.batch_size, process, processes)
    loader.sleep = sleep
    task = TeacherTask() if teacher else StatisticsTask()
    measurements = [TinyMeasurement(measure)] if measure else []
    result = loop.fit(task, loader, options, workdir, measurements=measurements)
    trees = parallel.to_host({"params": result.state.params, "ema": result.state.ema})
    if out and jax.process_index() == 0:
        np.savez(out, step=result.steps, stopped=result.stopped, **weights.flatten(trees))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
