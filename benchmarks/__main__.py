"""All measurements, as tables in Markdown: on the screen and in a file.

    python -m benchmarks --torch_python PATH        (about a quarter of an hour)

PATH is a Python with benchmarks/requirements.txt; without it the baseline's columns stay empty. All
of it runs on the CPU; `benchmarks.gpu` is for a GPU.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.adaptive import adaptive_table
from benchmarks.batches import batch_table
from benchmarks.breakdown import breakdown_table
from benchmarks.compare import Options, compare_table, details_table, flags_table, measure
from benchmarks.handwriting import handwriting_table
from benchmarks.likelihood import likelihood_tables
from benchmarks.networks import NETWORKS
from benchmarks.sampling import sampling_table
from benchmarks.startup import startup_table
from benchmarks.tables import Table, machine
from options.choices import choose
from options.program import one_line_errors


def networks(args: argparse.Namespace, cache: Path) -> Iterator[Table]:
    options = Options(
        tuple(args.networks.split(",")), args.torch_python, cache, args.rounds, args.torch_compile
    )
    results = measure(options)
    yield compare_table(results, options)
    yield flags_table(results)
    yield details_table(results)


def profiles(args: argparse.Namespace, cache: Path) -> Iterator[Table]:
    for network in args.networks.split(","):
        yield breakdown_table(network, str(cache))


def likelihood(args: argparse.Namespace, cache: Path) -> Iterator[Table]:
    names = args.networks.split(",")
    yield from likelihood_tables(names, args.torch_python, args.torch_compile, cache, args.rounds)


SECTIONS: dict[str, Callable[[argparse.Namespace, Path], Iterator[Table]]] = {
    "networks": networks,
    "profile": profiles,
    "batch": lambda args, cache: iter([batch_table(args.small, cache)]),
    "sampling": lambda args, cache: iter([sampling_table(args.torch_python, cache, args.rounds)]),
    "likelihood": likelihood,
    "adaptive": lambda args, cache: iter([adaptive_table()]),
    "handwriting": lambda args, cache: iter(
        [handwriting_table(args.torch_python, cache, args.rounds)]
    ),
    "startup": lambda args, cache: iter([startup_table()]),
}


def run() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch_python", default="", help="a Python with torch and diffusers")
    parser.add_argument("--torch_compile", action="store_true", help="also race torch.compile")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--networks", default="reduced,full,digits")
    parser.add_argument("--small", default="reduced", help="network of batch")
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds in which each contestant is measured"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/tables.md"))
    args = parser.parse_args()
    with one_line_errors():
        measure_all(args)


def measure_all(args: argparse.Namespace) -> None:
    """Every section that is asked for; InvalidValue before any work for one that there is not."""
    sections = [choose(SECTIONS, name, "sections") for name in args.sections.split(",")]
    for network in (*args.networks.split(","), args.small):
        choose({**NETWORKS, "digits": None}, network, "networks")
    os.environ["JAX_PLATFORMS"] = "cpu"  # of the processes that are measured, as of PyTorch's
    texts = [machine() + "\n"]
    print(texts[0])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        for section in sections:
            for table in section(args, Path(cache)):
                print(table.markdown(), flush=True)
                texts.append(table.markdown())
                args.out.write_text("\n".join(texts))
    print(f"written to {args.out}")


if __name__ == "__main__":
    run()
