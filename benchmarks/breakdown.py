"""Where a training step spends its time, by JAX's profiler.

The trace names the operation of the compiled program that a thread was busy with; the program's
text says from which line of the network that operation came. Child: python -m benchmarks.breakdown.
"""

import argparse
import gzip
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.tables import Cell, Table
from benchmarks.worker import Worker, peak_memory

STEPS = 3
# (what, a pattern of the operation and its origin), the first that fits.
KINDS = (
    ("random numbers (noise, dropout)", r"bernoulli|_normal|_uniform|threefry|random_"),
    ("convolutions, gradient", r"^conv\S* .*transpose\("),
    ("convolutions, forward", r"^conv"),
    ("attention", r"attention"),
    ("changes of layout for convolutions", r"^(\S*transpose|\S*copy)\S* .*conv|->|^copy"),
    ("FIR filters and resampling", r"shrink|grow|pyramid|pad|concatenate"),
    ("group norm, activations, sums; gradient", r"transpose\("),
    ("group norm, activations, sums; forward", r"jvp\("),
    ("Adam, clipping, average", r"."),
)


def breakdown_table(network: str, cache: str) -> Table:
    """Fractions of the time of one step."""
    command = [sys.executable, "-m", "benchmarks.breakdown", "--network", network]
    worker = Worker(command, {"JAX_COMPILATION_CACHE_DIR": cache})
    worker.close()
    total = sum(worker.facts["ms"].values())
    rows: list[list[Cell]] = [
        [kind, ms, f"{100 * ms / total:.0f} %"] for kind, ms in worker.facts["ms"].items()
    ]
    rate, peak = worker.facts["gflops"], worker.facts["peak_gflops"]
    note = f"The step computes at {rate:.0f} GFLOP/s, a product of large matrices at {peak:.0f}."
    return Table(
        f"The training step of the {network} network", ["what", "ms", "fraction"], rows, note
    )


def origins(program: str) -> dict[str, str]:
    """Where each operation of a compiled program's text came from."""
    pattern = r"^\s*(?:ROOT )?%?([\w.\-]+) = .*?op_name=\"([^\"]*)\""
    return dict(re.findall(pattern, program, re.MULTILINE))


def busy_time(events: Iterable[dict], origin: dict[str, str]) -> dict[str, float]:
    """Microseconds by kind, most first. A loop is counted by what is in it."""
    spent: Counter[str] = Counter()
    for event in events:
        name = event.get("args", {}).get("hlo_op")
        if name and not re.match(r"(while|call|conditional)\b", name):
            text = f"{name} {origin.get(name, '')}"
            kind = next(kind for kind, pattern in KINDS if re.search(pattern, text))
            spent[kind] += event["dur"]
    return dict(spent.most_common())


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="reduced")
    args = parser.parse_args()
    import main

    main.prepare_jax()
    import jax

    from benchmarks.jax_side import Step, config_of, whole_batch

    step = Step(whole_batch(config_of(args.network)))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            step()
        with jax.profiler.trace(folder):
            for _ in range(STEPS):
                step()
        (path,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    spent = busy_time(events, origins(step.text))
    facts = {
        "ms": {kind: time / STEPS / 1e3 for kind, time in spent.items()},
        "gflops": step.facts["gflop"] / best_seconds(step),
        "peak_gflops": matrix_gflops(),
    }
    print(json.dumps(facts))
    print(peak_memory())


def best_seconds(function, runs: int = 5) -> float:
    """The shortest time of a few runs."""
    import time

    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def matrix_gflops(size: int = 2048) -> float:
    """The rate of a float32 product of two square matrices, the most this machine gives JAX."""
    import jax
    import jax.numpy as jnp

    a = jnp.ones((size, size))
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / 1e9 / best_seconds(lambda: jax.block_until_ready(product(a, a)))


if __name__ == "__main__":
    run()
