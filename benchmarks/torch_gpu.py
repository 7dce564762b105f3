"""The baseline on a GPU, in each of PyTorch's ways to compute: a measure each, in one process.

Child: python -m benchmarks.torch_gpu --work train, by a Python that has PyTorch and diffusers. On a
machine without a GPU it measures the CPU, for a try of the program.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.networks import NETWORKS
from benchmarks.torch_side import Flow, PredictorCorrector, Sampling, Training, subject
from benchmarks.worker import answer, seconds_of

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Setting:
    """How PyTorch computes.

    Attributes:
      convolutions, products: whether they are in TF32; PyTorch's default is the first alone.
      search: cudnn.benchmark, the fastest convolutions by timing them.
      bfloat16: autocast to it.
      compiled: by torch.compile.
    """

    convolutions: bool = True
    products: bool = False
    search: bool = False
    channels_last: bool = False
    bfloat16: bool = False
    compiled: bool = False

    def apply(self) -> None:
        """Sets what is of the whole process."""
        torch.backends.cudnn.allow_tf32 = self.convolutions
        torch.backends.cuda.matmul.allow_tf32 = self.products
        torch.backends.cudnn.benchmark = self.search

    def autocast(self) -> Any:
        """The context of every run."""
        on = torch.autocast(DEVICE, torch.bfloat16)
        return on if self.bfloat16 else contextlib.nullcontext()


def fastest(**fields: bool) -> Setting:
    """TF32 wherever nothing says otherwise, and cudnn.benchmark."""
    return Setting(products=True, search=True, **fields)


FLOAT32 = {"float32": Setting(convolutions=False, search=True)}
TF32 = {"TF32": fastest(), "TF32, channels last": fastest(channels_last=True)}
EAGER = {
    "as it comes": Setting(),
    **TF32,
    "bfloat16": fastest(bfloat16=True),
    "bfloat16, channels last": fastest(bfloat16=True, channels_last=True),
}
COMPILED = {
    "TF32, torch.compile": fastest(compiled=True),
    "bfloat16, torch.compile": fastest(bfloat16=True, compiled=True),
}


@dataclass(frozen=True)
class Work:
    """What is measured, and in which settings; `runs` of it are about a second or two."""

    make: Callable[..., Callable[[], None]]
    settings: dict[str, Setting]
    runs: int


WORK = {
    "train": Work(Training, EAGER, 12),
    "train, compiled": Work(Training, COMPILED, 12),
    "pc": Work(PredictorCorrector, FLOAT32 | TF32, 12),
    "dpm": Work(Sampling, FLOAT32 | TF32, 2),
    "likelihood": Work(Flow, FLOAT32 | TF32, 6),
}


def measure(
    work: Work, setting: Setting, network: str, batch: int, runs: int = 0, warm_up: int = 3
) -> dict[str, Any]:
    """Median milliseconds of a run, those of a row of runs without waiting, and peak memory.

    runs: how many, 0 for the work's own.
    """
    n, runs = NETWORKS[network], runs or work.runs
    torch.manual_seed(0)
    setting.apply()
    net, x_0 = subject(n, batch, setting.channels_last, DEVICE)
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    once = work.make(torch.compile(net) if setting.compiled else net, n, x_0)

    def run() -> None:
        with setting.autocast():
            once()

    def finished(count: int = 1) -> None:
        for _ in range(count):
            run()
        wait()

    began = time.perf_counter()
    finished()
    first = time.perf_counter() - began
    seconds_of(finished, warm_up)
    each = statistics.median(seconds_of(finished, runs))
    (row,) = seconds_of(partial(finished, runs), 1)
    found = {"ms": 1e3 * each, "queued_ms": 1e3 * row / runs, "first_run_s": first}
    if DEVICE == "cuda":
        found["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return found


def wait() -> None:
    """Until the device has done what it was given."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def released(measured: Callable[[], dict[str, Any]], _: int) -> dict[str, Any]:
    """What was measured, by a process that then holds no device memory for it."""
    try:
        return measured()
    finally:
        if DEVICE == "cuda":
            torch.cuda.empty_cache()


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", default="train", help="of WORK, with + between several")
    parser.add_argument("--network", choices=NETWORKS, default="full")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--runs", type=int, default=0, help="0: as many as suit a GPU")
    args = parser.parse_args()
    if DEVICE == "cpu" and not args.runs:
        sys.exit("error: torch sees no GPU")
    measures = {
        f"{name}: {said}": partial(
            released, partial(measure, WORK[name], setting, args.network, args.batch, args.runs)
        )
        for name in args.work.split("+")
        for said, setting in WORK[name].settings.items()
    }
    facts = {"torch": torch.__version__, "device": DEVICE, "batch": args.batch}
    facts["measures"] = dict.fromkeys(measures, 1)
    answer(facts, measures)


if __name__ == "__main__":
    run()
