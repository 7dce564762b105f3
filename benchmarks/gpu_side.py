"""What is measured of this project on a GPU, one section a process.

machine      the card and its software; the ceilings; the operations of a forward pass
train        the training step: synchronous, queued, its memory, its profile
fit          the same as `main.py --mode train` runs it, compiled from the cache
sampling     a predictor-corrector step, and a whole run of DPM-Solver++
likelihood   an evaluation of drift and divergence

Each prepares and says its facts, among them its measures and how often each is to be run. Child:
python -m benchmarks.gpu_side --section train --network full --precision bfloat16.
"""

import argparse
import contextlib
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import main
from benchmarks import breakdown, ceilings, likelihood
from benchmarks.jax_side import (
    STEPS,
    Step,
    config_of,
    image_experiment,
    prepare_pc,
    prepare_sampler,
    whole_batch,
)
from benchmarks.worker import answer, answer_midway, seconds_of
from options.precision import PRECISIONS

PACKAGES = ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax", "optax", "numpy")
Measures = dict[str, tuple[Callable[[int], Any], int]]  # each with how often it is to be run
Prepared = tuple[dict[str, Any], Measures]


@dataclass(frozen=True)
class Subject:
    """A network, and how much of it is measured.

    Attributes:
      batch: of a training step. jitted: steps that `fit` dispatches at once.
      chunks: dispatches of `fit`.
    """

    network: str
    batch: int
    jitted: int
    chunks: int


@dataclass(frozen=True)
class Amount:
    """How much is measured.

    Attributes:
      side: of the matrices. numbers: that are copied. queued: products, copies or steps in a row.
      steps: of training, one by one. batch: of sampling and likelihood.
      sampler_steps: of DPM-Solver++. images: to train on.
    """

    subjects: Mapping[str, Subject]
    side: int = 8192
    numbers: int = 2**26
    queued: int = 20
    steps: int = 30
    batch: int = 64
    sampler_steps: int = 25
    images: int = 8192


REAL = Amount({"full": Subject("full", 128, 1, 60), "small": Subject("small", 128, 20, 25)})
# Every section within seconds, on whatever there is.
DRY = Amount(
    {"full": Subject("toy", 2, 1, 5), "small": Subject("toy", 2, 2, 5)},
    side=64,
    numbers=2**10,
    queued=2,
    steps=2,
    batch=2,
    sampler_steps=3,
    images=16,
)
WARM = 3  # dispatches of `fit` before its speed is measured


@dataclass(frozen=True)
class Asked:
    """What a section is of."""

    network: str = "full"
    precision: str = "tf32"
    amount: Amount = REAL

    @property
    def subject(self) -> Subject:
        return self.amount.subjects[self.network]


def machine(asked: Asked) -> Prepared:
    """What there is, and the most that it does."""
    amount = asked.amount
    measures: Measures = {
        name: (partial(_matrix, amount.side, name), amount.queued) for name in PRECISIONS
    }
    measures["copy"] = (partial(_copy, amount.numbers), amount.queued)
    for name, subject in amount.subjects.items():
        measures[f"forward {name}"] = (partial(forward_gflop, subject.network), 1)
    return about(), measures


def _matrix(side: int, precision: str, queued: int) -> dict[str, float]:
    return {"tflops": ceilings.matrix_gflops(side, precision, queued) / 1e3, "side": side}


def _copy(numbers: int, queued: int) -> dict[str, float]:
    return {"gbytes_per_s": ceilings.copy_gbytes(numbers, queued)}


def about() -> dict[str, Any]:
    """The card, its driver and the versions."""
    import jax

    device = jax.local_devices()[0]
    return {
        "platform": device.platform,
        "card": device.device_kind,
        "devices": jax.device_count(),
        "memory_gb": (device.memory_stats() or {}).get("bytes_limit", 0) / 1e9,
        "runtime": " ".join(device.client.platform_version.split()),
        "nvidia_smi": nvidia_smi(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {"python": platform.python_version()} | versions(PACKAGES),
    }


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Of those packages that are installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def nvidia_smi() -> str:
    """Name, driver, memory, power limit and highest clock, "" without the program."""
    if not shutil.which("nvidia-smi"):
        return ""
    asked = "name,driver_version,memory.total,power.limit,clocks.max.sm"
    command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout.strip().replace("\n", "; ")


def forward_gflop(network: str, _: int = 1) -> dict[str, float]:
    """Of one forward pass for one image, as XLA counts the program before it is optimised.

    Counted on the CPU's backend, since not every other one counts.
    """
    import jax

    experiment = image_experiment(config_of(network))
    task, cpu = experiment.task, jax.sharding.SingleDeviceSharding(jax.devices("cpu")[0])
    cond = {"labels": np.zeros(1, np.int32)} if experiment.labels else {}

    def there(x: Any) -> Any:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=cpu)

    def forward(params: Any, x: Any) -> Any:
        node = experiment.process.node(jax.numpy.full(1, 0.5))
        return task.predictor(params)(x, node, cond).eps

    params = jax.tree.map(there, experiment.template)
    image = there(jax.ShapeDtypeStruct((1, *experiment.shape), np.float32))
    cost = jax.jit(forward).lower(params, image).cost_analysis()
    assert cost is not None
    return {"gflop": cost["flops"] / 1e9}


def train(asked: Asked) -> Prepared:
    """The step, compiled: cold, where the cache is empty."""
    config = training_config(asked)
    step = Step(config)
    step.in_a_row(2)
    amount = asked.amount
    facts = step.facts | {"batch": asked.subject.batch}
    measures: Measures = {
        "step": (partial(median_ms, step), amount.steps),
        "queued": (partial(queued_ms, step.in_a_row), amount.queued),
        "profile": (partial(breakdown.profile, step, step.text), min(3, amount.steps)),
    }
    return facts, measures | memory_of_device()


def training_config(asked: Asked, **fields: Any) -> Any:
    """Of a training in the precision asked for, all examples of a step at once."""
    subject, precision = asked.subject, {"precision.training": asked.precision}
    return whole_batch(config_of(subject.network, subject.batch, fields=precision | fields))


def median_ms(run: Callable[[], None], count: int) -> dict[str, float]:
    """Of so many runs, each waited for."""
    return {"ms": 1e3 * statistics.median(seconds_of(run, count))}


def queued_ms(in_a_row: Callable[[int], None], count: int) -> dict[str, float]:
    """Milliseconds of one of so many runs, of which the last alone is waited for."""
    (seconds,) = seconds_of(lambda: in_a_row(count), 1)
    return {"ms": 1e3 * seconds / count}


def memory_of_device() -> Measures:
    """The most GB that the device has held, where it says so."""
    import jax

    device = jax.local_devices()[0]

    def peak(_: int) -> dict[str, float]:
        return {"gb": (device.memory_stats() or {})["peak_bytes_in_use"] / 1e9}

    says = "peak_bytes_in_use" in (device.memory_stats() or {})
    return {"memory": (peak, 1)} if says else {}


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
        experiment = image_experiment(training_config(asked, **options))

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
    """Random images, all of one class, of the size that the network takes."""
    experiment = image_experiment(config_of(asked.subject.network))
    shape = (asked.amount.images, *experiment.shape)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.savez(path, train_images=images, train_labels=np.zeros(len(images), np.int32))
    return path


def sampling(asked: Asked) -> Prepared:
    """Both programs, compiled; DPM-Solver++ as a whole run."""
    from solvers import DPMSolverPP

    amount, fields = asked.amount, {"precision.sampling": asked.precision}

    def config() -> Any:
        return config_of(asked.subject.network, amount.batch, fields=fields)

    began = time.perf_counter()
    pc, _ = prepare_pc(config())
    dpm = prepare_sampler(config(), DPMSolverPP(), amount.sampler_steps)
    for run in (pc, dpm):
        run()
    facts = {
        "batch": amount.batch,
        "first_runs_s": time.perf_counter() - began,
        "evaluations": {"pc": 2, "dpm": amount.sampler_steps},
    }
    measures: Measures = {
        "pc": (lambda count: {"ms": median_ms(pc, count)["ms"] / STEPS}, 5),
        "dpm": (partial(median_ms, dpm), 5),
    }
    return facts, measures | memory_of_device()


def likelihood_evaluation(asked: Asked) -> Prepared:
    """A few steps of the solve, compiled."""
    batch = asked.amount.batch
    began = time.perf_counter()
    run, evaluations = likelihood.prepare_jax(
        config_of(asked.subject.network, batch), likelihood.OURS
    )
    run()
    facts = {"batch": batch, "first_runs_s": time.perf_counter() - began}

    def evaluation(count: int) -> dict[str, float]:
        return {"ms": median_ms(run, count)["ms"] / evaluations}

    measures: Measures = {"likelihood": (evaluation, 5)}
    return facts, measures | memory_of_device()


PREPARE: dict[str, Callable[[Asked], Prepared]] = {
    "machine": machine,
    "train": train,
    "sampling": sampling,
    "likelihood": likelihood_evaluation,
}
FIT = "fit"


def run() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--section", choices=[*PREPARE, FIT], default="train")
    parser.add_argument("--network", choices=REAL.subjects, default="full")
    parser.add_argument("--precision", choices=PRECISIONS, default="tf32")
    parser.add_argument("--dry", action="store_true", help="toy sizes")
    args = parser.parse_args()
    main.prepare_jax()
    asked = Asked(args.network, args.precision, DRY if args.dry else REAL)
    if args.section == FIT:
        answer_midway(partial(fit, asked))
        return
    facts, measures = PREPARE[args.section](asked)
    counts = {name: count for name, (_, count) in measures.items()}
    answer(facts | {"measures": counts}, {name: f for name, (f, _) in measures.items()})


if __name__ == "__main__":
    run()
