"""Where a training step spends its time, by JAX's profiler.

The trace names the instruction of the compiled program that a thread or a stream was busy with;
the program's text says what that computes and from which line of the network it came. A fusion is
what most of the elements that it computes are. Child: python -m benchmarks.breakdown.
"""

import argparse
import gzip
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.ceilings import best_seconds, matrix_gflops
from benchmarks.hlo import Instruction, Program, parse
from benchmarks.tables import Cell, Table
from benchmarks.worker import Worker, peak_memory

STEPS = 3
# (kind, a pattern of what an instruction computes and its origin with a space between, or of the
# name of a library's kernel), the first that fits.
KINDS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("random numbers (noise, dropout)", r"bernoulli|_normal|_uniform|threefry|random_|^rng"),
        ("optimizer: clipping, Adam", r"/optimizer\b"),
        ("average of the parameters", r"/average\b"),
        ("sums over devices", r"^(all-|reduce-scatter|collective-)|/psum|nccl"),
        ("attention", r"attention|fmha"),
        (
            "convolutions, gradient",
            r"^\S*(convBackward|dgrad|wgrad)"
            r"|^(convolution|custom-call:\S*[cC]onv\S*) .*transpose\(",
        ),
        ("convolutions, forward", r"^(convolution|custom-call:\S*[cC]onv|\S*(fprop|cudnn))"),
        ("matrix products", r"^(dot\b|custom-call:\S*(gemm|matmul)|\S*(gemm|nvjet|cutlass))"),
        ("copies and changes of layout", r"^(transpose|copy)\b|conv_general_dilated|^[mM]emcpy"),
        (
            "FIR filters and resampling",
            r"/(shrink|grow|pyramid)[^/]*/(?!norm|conv|shortcut|embedding|jit\(silu)",
        ),
        ("group norm, activations, sums; gradient", r"transpose\("),
        ("group norm, activations, sums; forward", r"jvp\("),
    )
)
OTHER = "other"
PRODUCTS = re.compile(r"^(convolution|dot|custom-call:)")
# Instructions that compute nothing by themselves, or that are others run one after another.
SILENT = {"parameter", "constant", "broadcast", "bitcast", "tuple", "get-tuple-element", "iota"}
CONTAINERS = {"while", "call", "conditional"}


def breakdown_table(network: str, cache: str) -> Table:
    """Fractions of the time of one step."""
    command = [sys.executable, "-m", "benchmarks.breakdown", "--network", network]
    worker = Worker(command, {"JAX_COMPILATION_CACHE_DIR": cache})
    worker.close()
    rate, peak = worker.facts["gflops"], worker.facts["peak_gflops"]
    note = f"The step computes at {rate:.0f} GFLOP/s, a product of large matrices at {peak:.0f}."
    return kinds_table(f"The training step of the {network} network", worker.facts["ms"], note)


def kinds_table(title: str, ms: dict[str, float], note: str) -> Table:
    """Times by kind, and their fractions of the sum."""
    total = sum(ms.values())
    rows: list[list[Cell]] = [[kind, t, f"{100 * t / total:.0f} %"] for kind, t in ms.items()]
    return Table(title, ["what", "ms", "fraction"], rows, note)


def kind_of_text(text: str) -> str:
    """The first of KINDS that fits, OTHER for none."""
    return next((kind for kind, pattern in KINDS if pattern.search(text)), OTHER)


def kind_of(instruction: Instruction, program: Program) -> str:
    """What the time of an instruction is put down to.

    A fusion is of the kind of a product in it, if there is one; else of the kind of most of the
    elements that its instructions compute, those not counted that are of no known kind.
    """
    parts = list(_parts(instruction, program))
    for part in parts:
        if PRODUCTS.match(part.what):
            return _own_kind(part)
    votes: Counter[str] = Counter()
    for part in parts:
        votes[_own_kind(part)] += part.elements
    votes.pop(OTHER, None)
    return votes.most_common(1)[0][0] if votes else _own_kind(instruction)


def _own_kind(instruction: Instruction) -> str:
    return kind_of_text(f"{instruction.what} {instruction.origin}")


def _parts(instruction: Instruction, program: Program) -> Iterator[Instruction]:
    """The instructions of a fusion, those of fusions in it too; none of any other."""
    for part in program.computations.get(instruction.calls, ()):
        if part.calls:
            yield from _parts(part, program)
        elif part.what not in SILENT:
            yield part


def busy_time(events: Iterable[dict], text: str) -> dict[str, float]:
    """Microseconds by kind of a trace of the compiled program with this text, most first."""
    program = parse(text)
    by_name: Counter[tuple[str, str]] = Counter()
    for event in of_the_device(list(events)):
        by_name[event["name"], event.get("args", {}).get("hlo_op", "")] += event["dur"]
    spent: Counter[str] = Counter()
    for (name, instruction), time in by_name.items():
        kind = kind_of_event(name, instruction, program)
        if kind is not None:
            spent[kind] += time
    return dict(spent.most_common())


def of_the_device(events: list[dict]) -> list[dict]:
    """The events of computation, each once.

    A GPU has a line for each stream beside lines that tell the same again by module, instruction
    and scope, and the host's calls that launch kernels name instructions too; a TPU has a line of
    instructions; a CPU has its threads alone, whose events name instructions.
    """
    processes = {e["pid"]: e["args"]["name"] for e in events if e.get("name") == "process_name"}
    lines = {
        (e["pid"], e["tid"]): e["args"]["name"]
        for e in events
        if e.get("name") == "thread_name" and processes.get(e["pid"], "").startswith("/device:")
    }
    timed = [e for e in events if e.get("ph", "X") == "X" and "dur" in e]
    for name in ("Stream", "XLA Ops"):
        wanted = {line for line, said in lines.items() if said.startswith(name)}
        if wanted:
            return [e for e in timed if (e["pid"], e["tid"]) in wanted]
    return [e for e in timed if "hlo_op" in e.get("args", {})]


def kind_of_event(name: str, instruction: str, program: Program) -> str | None:
    """What the time of events is put down to; None for a container, whose contents have events too.

    name, instruction: the event's, and that which it says it belongs to, "" where it says nothing.
    A kernel of a CUDA graph may say that it belongs to what holds the graph: then its own name
    tells what it is.
    """
    found = program.find(instruction)
    what = instruction.partition(".")[0] if found is None else found.what
    if what in CONTAINERS and name == instruction:
        return None
    if found is not None and what not in CONTAINERS:
        return kind_of(found, program)
    kernel = program.find(name)
    return kind_of_text(name) if kernel is None else kind_of(kernel, program)


def profile(step: Callable[[], None], text: str, steps: int = STEPS) -> dict[str, float]:
    """Milliseconds of one step by kind, most first; `step` has run before."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(steps):
                step()
        spent = busy_time(read_trace(Path(folder)), text)
    return {kind: time / steps / 1e3 for kind, time in spent.items()}


def read_trace(folder: Path) -> list[dict[str, Any]]:
    """The events that `jax.profiler.trace` left in a folder."""
    (path,) = folder.rglob("*.trace.json.gz")
    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="reduced")
    args = parser.parse_args()
    import main

    main.prepare_jax()

    from benchmarks.jax_side import Step, config_of, whole_batch

    step = Step(whole_batch(config_of(args.network)))
    for _ in range(2):
        step()
    facts = {
        "ms": profile(step, step.text),
        "gflops": step.facts["gflop"] / best_seconds(step),
        "peak_gflops": matrix_gflops(),
    }
    print(json.dumps(facts))
    print(peak_memory())


if __name__ == "__main__":
    run()
