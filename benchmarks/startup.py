"""Seconds from a command line to its end."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.tables import Cell, Table
from benchmarks.worker import ROOT


def seconds(arguments: list[str], folder: str) -> float:
    """Of main.py in an empty folder, whose cache of compiled programs is `folder`/cache."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def startup_table(repeats: int = 3) -> Table:
    """--help, and samples of the shipped model with and without compiled programs to hand."""
    rows: list[list[Cell]] = []
    with tempfile.TemporaryDirectory() as folder:
        help_s = statistics.median(seconds(["--help"], folder) for _ in range(repeats))
        rows.append(["main.py --help", help_s])
        for count in (10, 100) if Path(ROOT, "pretrained", "digits.npz").exists() else ():
            arguments = ["--mode", "sample", f"--config.sampling.num_samples={count}"]
            line = f"main.py {' '.join(arguments)}"
            rows.append([f"{line}, first time", seconds(arguments, folder)])
            again = statistics.median(seconds(arguments, folder) for _ in range(repeats))
            rows.append([f"{line}, again", again])
    return Table("Command lines", ["command", "s"], rows)
