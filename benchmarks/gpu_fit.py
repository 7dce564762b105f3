"""The speed of training as `main.py --mode train` runs it, by the loop itself."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_amounts import Asked
from benchmarks.jax_side import image_experiment

WARM = 3  # dispatches of `fit` before its speed is measured


class Gate:
    """A loader that notes when each batch is asked for, and waits once before it gives one.

    before: the batch, counted from 0, before which `hold` is called.
    """

    def __init__(self, loader: Any, before: int, hold: Callable[[float], None]):
        self._loader, self._before, self._hold = loader, before, hold
        self.asked: list[float] = []

    def __next__(self) -> Mapping[str, Any]:
        if len(self.asked) == self._before:
            self._hold(time.perf_counter() - self.asked[0])
        self.asked.append(time.perf_counter())
        return next(self._loader)

    def state(self) -> dict[str, Any]:
        return self._loader.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._loader.restore(state)


def fit(asked: Asked, hold: Callable[[dict[str, Any]], None]) -> dict[str, float]:
    """Images/s of `training.loop.fit` with the loader of the experiment, on random images.

    hold: called with the facts once the first step is compiled and under way.
    """
    from training import loop

    subject = asked.subject
    with tempfile.TemporaryDirectory() as folder:
        options = run_options(asked, write_images(asked, Path(folder) / "random.npz"))
        experiment = image_experiment(asked.training_config(options))

        def ready(seconds: float) -> None:
            hold({"trace_and_compile_s": seconds, "batch": subject.batch, "measures": {"fit": 1}})

        gate = Gate(experiment.loader(), subject.jitted, ready)
        with contextlib.redirect_stdout(sys.stderr):
            loop.fit(experiment.task, gate, experiment.training, Path(folder) / "run")
    begin, end = gate.asked[WARM * subject.jitted], gate.asked[-subject.jitted]
    steps = len(gate.asked) - (WARM + 1) * subject.jitted
    return {"images_per_s": subject.batch * steps / (end - begin), "steps": steps}


def run_options(asked: Asked, images: Path) -> dict[str, Any]:
    """What a configuration needs for a short run on these images."""
    jitted = asked.subject.jitted
    return {
        "data.source": "npz",
        "data.source.path": str(images),
        "training.steps": asked.subject.chunks * jitted,
        "training.n_jitted_steps": jitted,
        "training.log_every": 50 * jitted,
        "training.checkpoint_every": 0,
        "training.draw_every": 0,
    }


def write_images(asked: Asked, path: Path) -> Path:
    """Random images of the size and the classes that the network takes."""
    experiment = image_experiment(asked.config())
    shape = (asked.amount.images, *experiment.shape)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = np.arange(len(images)) % max(experiment.num_classes, 1)
    np.savez(path, train_images=images, train_labels=labels)
    return path
