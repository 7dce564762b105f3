"""The sections of `benchmarks.gpu`: what runs in which process, how long it takes, and when.

A section is prepared (imported, traced, compiled) beside others, up to `together` of them, and
then measured alone, when all that were prepared beside it wait. Compiling is most of the work, and
the host's; measuring takes seconds.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

JAX, TORCH, TESTS = "benchmarks.gpu_side", "benchmarks.torch_gpu", "benchmarks.golden"
MACHINE = "machine"


@dataclass(frozen=True)
class Section:
    """One process of measurements.

    Attributes:
      name: its name in the results. kind: what `--sections` calls it.
      module: that is run. arguments: its command line.
      prepare, measure: seconds that it takes on an H100 beside 16 cores, about.
      after: the section that must have been measured before, "" for none.
    """

    name: str
    kind: str
    module: str
    arguments: tuple[str, ...]
    prepare: float
    measure: float
    after: str = ""

    def command(self, python: str, dry: bool) -> list[str]:
        """What is run. python: that has PyTorch, "" for none."""
        interpreter = python if self.module == TORCH else sys.executable
        return [interpreter, "-m", self.module, *self.arguments, *(DRY[self.module] if dry else ())]


# What makes a try of a section, within seconds on any machine.
DRY = {
    JAX: ("--dry",),
    TORCH: ("--network", "toy", "--batch", "2", "--runs", "1"),
    TESTS: ("--tests", "tests/test_losses.py", "--workers", "1", "--seconds", "600"),
}


def jax_section(
    kind: str, prepare: float, measure: float, network: str = "full", precision: str = "tf32"
) -> Section:
    arguments = ("--section", kind, "--network", network, "--precision", precision)
    name = f"{kind} {network} {precision}"
    after = f"train {network} {precision}" if kind == "fit" else ""
    return Section(name, kind, JAX, arguments, prepare, measure, after)


def torch_section(work: str, prepare: float, measure: float) -> Section:
    arguments = ("--work", work, "--batch", "128" if work.startswith("train") else "64")
    return Section(f"torch {work}", "torch", TORCH, arguments, prepare, measure)


# The most important first: what does not fit into the time is left out from the end.
FIRST = Section(MACHINE, MACHINE, JAX, ("--section", MACHINE), 12, 8)
SECTIONS = (
    # As long as the others of its wave take to compile.
    Section("golden", "golden", TESTS, ("--seconds", "100"), 105, 0),
    jax_section("train", 110, 12, precision="bfloat16"),
    jax_section("train", 110, 14),
    jax_section("sampling", 60, 10, precision="float32"),
    jax_section("likelihood", 50, 8, precision="float32"),
    jax_section("train", 40, 6, "small", "bfloat16"),
    torch_section("train", 10, 35),
    jax_section("train", 40, 6, "small"),
    jax_section("fit", 30, 6, precision="bfloat16"),
    jax_section("fit", 30, 8),
    jax_section("fit", 40, 8, "small", "bfloat16"),  # of 20 steps, which no other has compiled
    torch_section("pc+dpm+likelihood", 10, 40),
    jax_section("sampling", 60, 10, precision="tf32"),
    jax_section("fit", 40, 8, "small"),
    jax_section("train", 110, 20, precision="float32"),
    torch_section("train, compiled", 10, 120),
)
KINDS = tuple(dict.fromkeys(section.kind for section in SECTIONS))


def next_wave(pending: Sequence[Section], seconds: float, together: int) -> list[Section]:
    """The sections to prepare side by side now: the first of those that fit into the time left."""
    wave: list[Section] = []
    waiting = {section.name for section in pending}
    for section in pending:
        if len(wave) < together and section.after not in waiting:
            if takes([*wave, section]) <= seconds:
                wave.append(section)
    return wave


def takes(wave: Sequence[Section]) -> float:
    """Seconds that sections take, prepared beside each other and measured one after another."""
    return max(s.prepare for s in wave) + sum(s.measure for s in wave)
