"""Two checkouts against each other, in one run: start-up, compilation, training, sampling.

    git worktree add /tmp/before v1.0
    python -m benchmarks.checkouts /tmp/before .

Whole processes of main.py, alternating between the two, each checkout with a cache of compiled
programs of its own, which is empty at first: "cold" is the first time, "warm" any later one. The
fields that are set have the same names in both, or the benchmark says which has not.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import Table, machine
from options.progress import progress_bar

CONFIG, WEIGHTS = "configs/digits/vp_small.py", "pretrained/digits.npz"
SILENT = [
    f"--config.training.{name}"
    for name in ("draw_every=0", "log_every=50", "checkpoint_every=1000", "microbatch=auto")
]
TRAIN = ["--config", CONFIG, "--mode", "train", *SILENT]
SAMPLE = ["--weights", WEIGHTS, "--mode", "sample", "--config.sampling.num_samples=16"]
EVALUATE = [
    "--weights", WEIGHTS, "--mode", "eval", "--config.eval.samples=False",
    "--config.eval.max_images=128", "--config.eval.likelihood_images=8",
    "--config.eval.batch_size=8",
]  # fmt: skip
SHORT, LONG = 2, 102  # steps of training; the difference is what steps take alone


def seconds(checkout: Path, arguments: Sequence[str], folder: Path) -> float:
    """Of main.py of a checkout, with `folder` for its results and `folder`/cache for programs."""
    cache = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache", "PYTHONPATH": str(checkout)}
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        where = [] if "--help" in arguments else ["--workdir", workdir]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "main.py", *arguments, *where],
            cwd=checkout,
            env=os.environ | cache,
            capture_output=True,
            text=True,
        )
        took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
    return took


def train(steps: int) -> list[str]:
    """The command line of a run of so many steps."""
    return [*TRAIN, f"--config.training.steps={steps}"]


# What is run in turn: its name, its arguments, and how often.
RUNS: tuple[tuple[str, list[str], int], ...] = (
    ("--help", ["--help"], 3),
    (f"train {SHORT} steps, cold", train(SHORT), 1),
    (f"train {SHORT} steps, warm", train(SHORT), 3),
    (f"train {LONG} steps, warm", train(LONG), 3),
    ("sample 16, cold", SAMPLE, 1),
    ("sample 16, warm", SAMPLE, 3),
    ("loss of 128 and bits/dim of 8, cold", EVALUATE, 1),
    ("loss of 128 and bits/dim of 8, warm", EVALUATE, 2),
)


def compare(before: Path, after: Path) -> Table:
    """The medians of every line, and of the ratios of its pairs."""
    rows: list[list] = []
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root, name) for name in ("before", "after")]
        for folder in folders:
            folder.mkdir()
        timed: dict[str, list[list[float]]] = {}
        turns = [(name, args) for name, args, times in RUNS for _ in range(times)]
        for turn, (name, arguments) in enumerate(progress_bar(turns, "benchmark", unit="command")):
            pair = [(before, folders[0]), (after, folders[1])]
            order = (0, 1) if turn % 2 else (1, 0)
            took = {i: seconds(pair[i][0].resolve(), arguments, pair[i][1]) for i in order}
            timed.setdefault(name, []).append([took[0], took[1]])
    short, long = (timed[f"train {steps} steps, warm"] for steps in (SHORT, LONG))
    timed[f"{LONG - SHORT} steps of training alone"] = [
        [b - a for a, b in zip(*both, strict=True)] for both in zip(short, long, strict=True)
    ]
    for name, pairs in timed.items():
        old, new = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append([name, old, new, statistics.median(b / a for a, b in pairs)])
    return Table("Two checkouts", ["command line", "before, s", "after, s", "ratio"], rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another")
    arguments = parser.parse_args()
    print(f"{machine()}\n\n{compare(arguments.before, arguments.after).markdown()}")


if __name__ == "__main__":
    main()
