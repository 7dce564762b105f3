"""Speed, memory and compilation of the two networks, beside PyTorch's in the same run.

Contestants take turns on each quantity; a number is the median over all turns.
"""

import functools
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.networks import NETWORKS, QUANTITIES
from benchmarks.tables import Cell, Table, times
from benchmarks.worker import Race, Worker, race

# The default of XLA said explicitly, so that `main.prepare_jax` leaves it as it is.
NO_FLAG = {"XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type=+individual_convolution"}
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclass(frozen=True)
class Options:
    """torch_python: a Python with PyTorch and diffusers, "" for none. cache: of this run."""

    networks: tuple[str, ...]
    torch_python: str
    cache: Path
    rounds: int = 7
    torch_compile: bool = False


@dataclass
class Results:
    """What was measured, by (network, quantity, contestant): medians in ms, peaks in MB, facts;
    and of those that failed, why."""

    ms: dict[tuple[str, str, str], float] = field(default_factory=dict)
    peak: dict[tuple[str, str, str], float] = field(default_factory=dict)
    facts: dict[tuple[str, str, str], dict] = field(default_factory=dict)
    failed: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def baseline(self, network: str, quantity: str, what: str = "ms") -> float | None:
        """The better number of the baseline's eager layouts."""
        found = getattr(self, what)
        values = [found.get((network, quantity, name)) for name in EAGER]
        return min((value for value in values if value is not None), default=None)


OURS, SCAN, COLD, COLD_SCAN = "ours", "scan_blocks", "cold", "cold scan_blocks"
PLAIN, HUGE = "without the flag", "huge pages"
EAGER = ("diffusers", "diffusers, channels last")
COMPILED = "diffusers, torch.compile"


def ours(options: Options, network: str, quantity: str, name: str) -> Worker:
    """A process of this project, ready to be measured."""
    command = [sys.executable, "-m", "benchmarks.jax_side", "--network", network]
    command += ["--quantity", quantity] + (["--scan"] if SCAN in name else [])
    environment = {"JAX_COMPILATION_CACHE_DIR": str(options.cache)}
    environment |= {PLAIN: NO_FLAG, HUGE: HUGE_PAGES}.get(name, {})
    return Worker(command, environment)


def theirs(options: Options, network: str, quantity: str, name: str) -> Worker:
    """A process of the baseline."""
    command = [options.torch_python, "-m", "benchmarks.torch_side", "--network", network]
    command += ["--quantity", quantity] + (["--channels_last"] if name != EAGER[0] else [])
    return Worker(command + (["--compile"] if name == COMPILED else []))


def contestants(options: Options, network: str, quantity: str) -> list[str]:
    """Those that take turns on a quantity."""
    if network == "digits":
        return [OURS, PLAIN]
    mine = {
        "forward": [OURS],
        "train": [OURS, SCAN, PLAIN, HUGE],
        "pc": [OURS, SCAN, PLAIN],
    }[quantity]
    if not options.torch_python:
        return mine
    return [*mine, *EAGER, *([COMPILED] if options.torch_compile else [])]


def measure(options: Options) -> Results:
    """Everything; programs are compiled one at a time, in a cache that begins empty."""
    results = Results()
    for network in options.networks:
        for name in (COLD, COLD_SCAN) if network != "digits" else ():
            cold = functools.partial(ours, options, network, "train", name)
            record(results, network, "train", race({name: cold}, 0, 0))
        for quantity in QUANTITIES if network != "digits" else ("train", "pc"):
            starts = {
                name: functools.partial(
                    theirs if name in (*EAGER, COMPILED) else ours, options, network, quantity, name
                )
                for name in contestants(options, network, quantity)
            }
            run = race(starts, options.rounds, 1 if network == "full" else 4)
            record(results, network, quantity, run)
    return results


def record(results: Results, network: str, quantity: str, run: Race) -> None:
    """Notes what the contestants found, and why others did not."""
    for name, worker in run.workers.items():
        key = network, quantity, name
        results.facts[key], results.peak[key] = worker.facts, worker.peak
        if worker.seconds:
            results.ms[key] = worker.ms / worker.facts.get("runs", 1)
    results.failed |= {(network, quantity, name): why for name, why in run.failed.items()}


def compare_table(results: Results, options: Options) -> Table:
    """The one table."""
    rows: list[list[Cell]] = []
    for network in options.networks:
        if network == "digits":
            continue
        for quantity, title in QUANTITIES.items():
            rows.append(_speed_row(results, network, quantity, f"{title}, ms"))
        rows += [_compile_row(results, network, cached) for cached in (False, True)]
        rows.append(_memory_row(results, network))
    header = ["network", "what", "ours", "ours, scan_blocks", "diffusers", "ours better by"]
    header += ["port, recorded", "ours better by", "port, rescaled", "ours better by", "aim"]
    return Table("Against PyTorch", header, rows, _NOTE)


_NOTE = """\
diffusers: the better of its two memory layouts, in the same run, eager. Port: the original's
PyTorch port, *recorded* on another day on a machine of this kind; *rescaled* by what diffusers
takes here against what it took there (the PC step by the forward pass's factor), since machines
of a kind differ. "Better by" is a ratio of medians, above 1 where ours needs less, ours being the
better of plain and scan_blocks. Memory: most held at any time by a process that initialises, reads
its program from the cache and trains; one that compiles it holds what the last table says."""


def _speed_row(results: Results, network: str, quantity: str, title: str) -> list[Cell]:
    n = NETWORKS[network]
    mine, scan = (results.ms.get((network, quantity, name)) for name in (OURS, SCAN))
    rival, recorded = results.baseline(network, quantity), n.recorded.get(quantity)
    known = quantity if quantity in n.recorded_diffusers else "forward"
    now, then = results.baseline(network, known), n.recorded_diffusers.get(known)
    rescaled = recorded * now / then if recorded and now and then else None
    best = min((value for value in (mine, scan) if value), default=None)
    aim = f"{n.aims[quantity]} x" if quantity in n.aims else None
    return [network, title, mine, scan, rival, times(rival, best), recorded, times(recorded, best),
            rescaled, times(rescaled, best), aim]  # fmt: skip


def _compile_row(results: Results, network: str, cached: bool) -> list[Cell]:
    def seconds(name: str) -> float | None:
        facts = results.facts.get((network, "train", name))
        return facts["trace_s"] + facts["compile_s"] if facts else None

    names = (OURS, SCAN) if cached else (COLD, COLD_SCAN)
    what = f"trace and compile the training step{' from the cache' if cached else ''}, s"
    aim = f"{5 if cached else 60} s" if network == "full" else None
    return [network, what, *map(seconds, names), *[None] * 6, aim]


def _memory_row(results: Results, network: str) -> list[Cell]:
    n = NETWORKS[network]
    mine, scan = (results.peak.get((network, "train", name)) for name in (OURS, SCAN))
    rival, recorded = results.baseline(network, "train", "peak"), n.recorded.get("memory")
    best = min((value for value in (mine, scan) if value), default=None)
    aim = f"{n.aims['memory']} x" if "memory" in n.aims else None
    return [network, "peak memory of training, MB", mine, scan, rival, times(rival, best),
            recorded, times(recorded, best), None, None, aim]  # fmt: skip


def details_table(results: Results) -> Table:
    """What lies behind the one table."""
    rows: list[list[Cell]] = []
    for (network, quantity, name), facts in results.facts.items():
        key = (network, quantity, name)
        row: list[Cell] = [network, QUANTITIES[quantity], name, results.ms.get(key)]
        row += [results.peak[key], facts["first_run_s"]]
        row += [facts.get(f) for f in ("init_s", "trace_s", "compile_s", "program_mb", "gflop")]
        rows.append([*row, facts.get("parameters", 0) / 1e6 or None])
    for (network, quantity, name), why in results.failed.items():
        rows.append([network, QUANTITIES[quantity], name, why, *[None] * 8])
    header = ["network", "what", "who", "ms", "peak MB", "start to first result, s", "init, s"]
    header += ["trace, s", "compile, s", "program, MB", "GFLOP", "parameters, M"]
    return Table("Every contestant", header, rows)


def flags_table(results: Results) -> Table:
    """With and without the XLA flag that main.py sets, and with huge pages for malloc."""
    rows: list[list[Cell]] = []
    for (network, quantity, name), without in results.ms.items():
        if name == PLAIN:
            here = results.ms.get((network, quantity, OURS))
            huge = results.ms.get((network, quantity, HUGE))
            row: list[Cell] = [network, QUANTITIES[quantity], here, without, times(without, here)]
            rows.append([*row, huge, times(here, huge)])
    header = ["network", "what", "ms", "ms without the flag", "the flag helps", "ms, huge pages"]
    return Table("XLA flag and huge pages", [*header, "they help"], rows)
