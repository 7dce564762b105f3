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
import dataclasses
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import main
from benchmarks import breakdown, ceilings, likelihood
from benchmarks.card import about
from benchmarks.gpu_amounts import DRY, REAL, Asked
from benchmarks.gpu_fit import fit
from benchmarks.jax_side import STEPS, Step, image_experiment, prepare_pc, prepare_sampler
from benchmarks.worker import answer, answer_midway, seconds_of
from options.precision import PRECISIONS

Measures = dict[str, tuple[Callable[[int], Any], int]]  # each with how often it is to be run
Prepared = tuple[dict[str, Any], Measures]


def machine(asked: Asked) -> Prepared:
    """What there is, and the most that it does."""
    amount = asked.amount
    measures: Measures = {
        name: (partial(_matrix, amount.side, name), amount.queued) for name in PRECISIONS
    }
    measures["copy"] = (partial(_copy, amount.numbers), amount.queued)
    for name in amount.subjects:
        of_network = dataclasses.replace(asked, network=name)
        measures[f"forward {name}"] = (partial(forward_gflop, of_network), 1)
    return about(), measures


def _matrix(side: int, precision: str, queued: int) -> dict[str, float]:
    return {"tflops": ceilings.matrix_gflops(side, precision, queued) / 1e3, "side": side}


def _copy(numbers: int, queued: int) -> dict[str, float]:
    return {"gbytes_per_s": ceilings.copy_gbytes(numbers, queued)}


def forward_gflop(asked: Asked, _: int = 1) -> dict[str, float]:
    """Of one forward pass for one image, as XLA counts the program before it is optimised.

    Counted on the CPU's backend, since not every other one counts.
    """
    import jax

    experiment = image_experiment(asked.config())
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
    step = Step(asked.training_config())
    step.in_a_row(2)
    amount = asked.amount
    facts = step.facts | {"batch": asked.subject.batch}
    measures: Measures = {
        "step": (partial(median_ms, step), amount.steps),
        "queued": (partial(queued_ms, step.in_a_row), amount.queued),
        "profile": (partial(breakdown.profile, step, step.text), min(3, amount.steps)),
    }
    return facts, measures | memory_of_device()


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


def sampling(asked: Asked) -> Prepared:
    """Both programs, compiled; DPM-Solver++ as a whole run."""
    from solvers import DPMSolverPP

    amount = asked.amount
    began = time.perf_counter()
    pc, _ = prepare_pc(asked.sampling_config())
    dpm = prepare_sampler(asked.sampling_config(), DPMSolverPP(), amount.sampler_steps)
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
    run, evaluations = likelihood.prepare_jax(asked.config(batch), likelihood.OURS)
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
