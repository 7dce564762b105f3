"""Training steps a second against the batch size, on the reduced network."""

import sys
from pathlib import Path

from benchmarks.tables import Cell, Table
from benchmarks.worker import Worker

SIZES = (1, 2, 4, 8, 16, 32, 64)


def batch_table(network: str, cache: Path, runs: int = 5) -> Table:
    """One process a batch size, one after another."""
    rows: list[list[Cell]] = []
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.jax_side", "--network", network]
        worker = Worker([*command, "--batch", str(size)], {"JAX_COMPILATION_CACHE_DIR": str(cache)})
        worker.run(runs)
        worker.close()
        steps = 1e3 / worker.ms
        program = worker.facts["program_mb"]
        rows.append(
            [size, steps, size * steps, worker.facts["gflop"] * steps, program, worker.peak]
        )
    header = ["batch", "steps/s", "images/s", "GFLOP/s", "program, MB", "peak of the process, MB"]
    return Table(f"Batch size ({network} network)", header, rows, _NOTE)


_NOTE = """\
Program: arguments, results and scratch by XLA's memory analysis. The peak is that of a process that
has also compiled the program."""
