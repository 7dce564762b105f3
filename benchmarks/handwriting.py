"""Lines of handwriting a second, beside the published sampler, in the same run.

    ours       `handwriting.writing.Scribe.write`: 60 steps of algorithm 2 (Luhman & Luhman 2020) in
               one compiled program, one line at a time or several at once, with the paper's network
               and with that of `configs/handwriting/small.py`
    published  the published code's sampler by PyTorch: the paper's network, 60 steps of a Python
               loop, one line at a time, eager (benchmarks/torch_handwriting.py)

All write lines of as many points, of new weights, in a style that is computed before.
Child: python -m benchmarks.handwriting --network paper --lines 1 [--dry].
"""

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables import Cell, Table, times
from benchmarks.worker import Worker, race, serve

STEPS, POINTS, CHARACTERS = 60, 384, 24  # 16 points a character, as the published code has it
AT_ONCE = 8
PARAMETERS = {"paper": 10_028_451}  # with the 73 tokens of the published code
TOKENS = {"paper": 73, "small": 96}
# A network, steps and a line that take no time, to try the program.
TINY = {
    "model.widths": (8, 16),
    "model.heads": (0, 2),
    "model.middle": 1,
    "model.text_width": 8,
    "model.text_heads": 2,
    "model.noise_width": 16,
    "sampling.num_steps": 2,
    "sampling.t_end": 0.5,
}
Contestant = tuple[str, int]  # network and lines at once; "published" and threads
PUBLISHED = "published"


def writing(network: str, lines: int, dry: bool = False) -> tuple[Callable[[], None], int]:
    """A run that writes so many lines, and how many parameters the network has."""
    import jax
    import numpy as np

    from experiment import kinds
    from experiment.handwriting import HandwritingExperiment
    from handwriting.writing import Asked

    tokens = TOKENS[network]
    changes = {
        "conditions.text.characters": "".join(map(chr, range(32, 31 + tokens))),
        "style.length.points": (0.0, *[POINTS / CHARACTERS] * (tokens - 1)),
        "data.source.length": POINTS,
        "sampling.num_steps": STEPS,
        "sampling.t_end": 1 / STEPS,
        "sampling.batch_size": lines,
    }
    path = f"handwriting/{network}"
    experiment = kinds.open_experiment(path, changes | (TINY if dry else {}))
    assert isinstance(experiment, HandwritingExperiment) and experiment.style is not None
    params = jax.jit(experiment.task.init)(jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert dry or count == PARAMETERS.get(network, count)
    rng, style = np.random.default_rng(0), experiment.style
    text = rng.integers(1, tokens, (lines, CHARACTERS)).astype(np.int32)
    features = rng.normal(size=(lines, style.places, style.features)).astype(np.float32)
    asked = Asked({"text": text, "style": features}, np.full(lines, POINTS))
    predict, scribe = experiment.sampled(params), experiment.scribe

    def run() -> None:
        made = scribe.write(predict, jax.random.key(0), asked)
        assert made.ok.all() and len(made.traces) == lines

    return run, count


def start(contestant: Contestant, torch_python: str, cache: Path) -> Worker:
    """A process of one contestant, ready to be measured."""
    name, number = contestant
    if name == PUBLISHED:
        command = [torch_python, "-m", "benchmarks.torch_handwriting", "--threads", str(number)]
        return Worker(command)
    command = [sys.executable, "-m", "benchmarks.handwriting"]
    command += ["--network", name, "--lines", str(number)]
    return Worker(command, {"JAX_COMPILATION_CACHE_DIR": str(cache)})


def handwriting_table(torch_python: str, cache: Path, rounds: int = 5) -> Table:
    """Medians of whole lines, contestants taking turns."""
    ours = [(network, lines) for network in TOKENS for lines in (1, AT_ONCE)]
    cores = len(os.sched_getaffinity(0))
    theirs = [(PUBLISHED, threads) for threads in sorted({1, cores})] if torch_python else []
    starts = {
        name: functools.partial(start, contestant, torch_python, cache)
        for contestant in [*ours, *theirs]
        for name in [" ".join(map(str, contestant))]
    }
    run = race(starts, rounds, 1)
    seconds = {name: worker.ms / 1e3 for name, worker in run.workers.items()}
    parameters = {name: worker.facts["parameters"] for name, worker in run.workers.items()}
    return table_of(ours, theirs, seconds, parameters, run.failed)


def table_of(
    ours: list[Contestant],
    theirs: list[Contestant],
    seconds: Mapping[str, float],
    parameters: Mapping[str, int],
    failed: Mapping[str, str],
) -> Table:
    """seconds: of a run of each contestant, by "NETWORK LINES" or "published THREADS"; parameters
    likewise. failed: why there are none."""
    found = [seconds[name] for c in theirs if (name := f"{c[0]} {c[1]}") in seconds]
    best = min(found, default=None)  # a line of the published sampler
    rows: list[list[Cell]] = []
    for name, number in [*ours, *theirs]:
        key = f"{name} {number}"
        taken = seconds.get(key)
        lines = 1 if name == PUBLISHED else number
        who = f"{name}, {number} threads" if name == PUBLISHED else f"ours, {name}"
        line = taken / lines if taken else None
        rate = 1 / line if line else failed.get(key)
        millions = parameters[key] / 1e6 if key in parameters else None
        rows.append([who, millions, lines, line, rate, times(best, line)])
    header = ["who", "parameters, M", "lines at once", "s a line", "lines/s"]
    return Table("Handwriting", [*header, "faster than published"], rows, _NOTE)


_NOTE = f"""\
Lines of {POINTS} points and {CHARACTERS} characters by {STEPS} steps of algorithm 2 of Luhman and
Luhman 2020; new weights; styles computed before. Published: the sampler of their code, an eager
loop of one line at a time, by PyTorch; "faster" is than the better of its numbers of threads."""


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=TOKENS, default="small")
    parser.add_argument("--lines", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="a tiny network and two steps")
    args = parser.parse_args()
    import main

    main.prepare_jax()
    started = time.perf_counter()
    measured, parameters = writing(args.network, args.lines, args.dry)
    measured()
    facts: dict[str, Any] = {"first_run_s": time.perf_counter() - started}
    serve(measured, facts | {"parameters": parameters})


if __name__ == "__main__":
    run()
