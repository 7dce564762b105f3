"""What a training step sends and holds on 1, 8 and 64 devices, by compilation alone.

    JAX_PLATFORMS=cpu python -m benchmarks.scaling --out runs/scaling

The step of each configuration is compiled for simulated devices, data parallel (`shard_map`) and
with the state split (`fsdp`), for so many examples a device. Nothing is run and no parameter is
made. What the collectives move and what the state takes are the same on real devices; scratch is
that of the CPU's program. What is compiled is kept in `--out`: the command can be cut and given
again. With `--shapes` nothing is compiled that is not kept there: the rest is what the step has to
send and to hold by the shapes and shardings of its state.
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from benchmarks import fits, no_gpu
from benchmarks.hlo import parse
from benchmarks.tables import Cell, Table, machine
from benchmarks.worker import ROOT
from options.memory import footprint
from options.progress import progress_bar

if TYPE_CHECKING:
    from experiment.image import ImageExperiment

CONFIGS = ("ve/cifar10_ncsnpp_deep.py", "ve/ffhq_256.py", "ve/ffhq_1024.py")
WAYS, DEVICES = ("shard_map", "fsdp"), (8, 64, 1)
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter")
OTHERS = ("all-to-all", "collective-permute")
# Of the machine code, which is never run and on which nothing here depends.
QUICKLY: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}


def collective_bytes(text: str) -> dict[str, int]:
    """Bytes that each kind of collective moves into a device, by the text of a compiled program.

    The size of the result of every all-reduce, all-gather, ..., once for each place in the program
    where it stands: for a chunk of training steps, that of one step. Of one in two parts
    ("all-gather-start", "all-gather-done") the second has the result.
    """
    total: Counter[str] = Counter()
    for instruction in parse(text).named.values():
        kind = instruction.what.removesuffix("-done")
        if kind in COLLECTIVES + OTHERS:
            total[kind] += instruction.bytes
    return dict(total)


def ring_bytes(received: Mapping[str, int], devices: int) -> float:
    """Bytes that each device sends on a ring, from the sizes of the collectives' results.

    A ring of n sends 2 (n - 1) / n of an all-reduced array, (n - 1) / n of a gathered one and
    n - 1 shards of one that is reduced and scattered (Patarasuk & Yuan 2009).
    """
    n = devices
    sent = {"all-reduce": 2 * (n - 1) / n, "all-gather": (n - 1) / n, "reduce-scatter": n - 1}
    return sum(sent[kind] * size for kind, size in received.items())


def compiled(experiment: "ImageExperiment", strategy: str, devices: int, batch: int) -> dict:
    """Of the compiled step: bytes of collectives, of the arguments and of all, a device; seconds.

    It is traced in the form for accelerators: that for CPUs takes longer to compile.
    """
    mesh = no_gpu.cpu(devices)
    began = time.perf_counter()
    with no_gpu.traced_for_accelerators():
        program = fits.train(experiment, mesh, batch, strategy).compile(QUICKLY)
    text, memory = program.as_text(), program.memory_analysis()
    assert text is not None and memory is not None
    return {
        "received": collective_bytes(text) if devices > 1 else {},
        "arguments": memory.argument_size_in_bytes,
        "needs": footprint(program),
        "seconds": round(time.perf_counter() - began),
    }


def by_shapes(experiment: "ImageExperiment", strategy: str, devices: int, batch: int) -> dict:
    """The first two of `compiled` without compiling.

    The compiled program all-reduces the losses and the norm of the gradient too, and leaves out a
    few small gradients: together they differ by less than a thousandth.

    The gradient of what is whole on each device is all-reduced; what is split is gathered, and its
    gradient reduced and scattered.
    """
    state, batches = fits.train_arguments(experiment, no_gpu.cpu(devices), batch, strategy)
    leaves = jax.tree.leaves(state.params)
    whole = sum(_bytes(x) for x in leaves if x.sharding.is_fully_replicated)
    split = sum(_bytes(x) for x in leaves) - whole
    parts = {"all-reduce": whole, "all-gather": devices * split, "reduce-scatter": split}
    return {
        "received": {kind: size for kind, size in parts.items() if size and devices > 1},
        "arguments": sum(_bytes(x) for x in jax.tree.leaves((state, batches))),
    }


def _bytes(x: jax.ShapeDtypeStruct) -> int:
    """Of an array, on each device."""
    assert x.sharding is not None
    return math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize


def row(strategy: str, devices: int, facts: Mapping[str, Any]) -> list[Cell]:
    """Of the table: MB of each collective and sent on a ring, GB of the state and of all."""
    received = facts["received"]
    cells: list[Cell] = [received.get(kind, 0) / 1e6 for kind in COLLECTIVES]
    cells += [ring_bytes(received, devices) / 1e6, facts["arguments"] / 1e9]
    way = "compiled" if "needs" in facts else "shapes"
    needs = facts["needs"] / 1e9 if "needs" in facts else None
    return [str(devices), strategy, *cells, needs, way]


def table(title: str, rows: list[list[Cell]]) -> Table:
    """Of one configuration."""
    header = ["devices", "strategy", *(f"{kind}, MB" for kind in COLLECTIVES)]
    header += ["sent on a ring, MB", "state and batch, GB", "CPU's program, GB", "from"]
    return Table(title, header, sorted(rows, key=lambda cells: int(str(cells[0]))))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"))
    parser.add_argument("--configs", default=",".join(CONFIGS), help="below configs/")
    parser.add_argument("--devices", default=",".join(map(str, DEVICES)))
    parser.add_argument("--strategies", default=",".join(WAYS))
    parser.add_argument("--batch", type=int, default=1, help="examples a device")
    parser.add_argument("--shapes", action="store_true", help="compile nothing")
    arguments = parser.parse_args()
    counts = [int(n) for n in arguments.devices.split(",")]
    jax.config.update("jax_num_cpu_devices", max(counts))
    jax.config.update("jax_enable_compilation_cache", False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept, texts = fits.Kept(arguments.out / "compiled.json"), [machine() + "\n"]
    for path in arguments.configs.split(","):
        texts.append(section(path, counts, arguments, kept).markdown())
        (arguments.out / "scaling.md").write_text("\n".join(texts))
    print("\n".join(texts))


def section(path: str, counts: list[int], arguments: argparse.Namespace, kept: fits.Kept) -> Table:
    """The table of a configuration. On one device all strategies are the same program."""
    from experiment import kinds
    from experiment.image import ImageExperiment

    experiment, rows = ImageExperiment(kinds.load(ROOT / "configs" / path, {})), []
    ways = arguments.strategies.split(",")
    programs = [(way, n) for n in counts for way in (ways if n > 1 else ways[:1])]
    for way, n in progress_bar(programs, f"compiling {path}", unit="program"):
        name = f"{way} {n} {arguments.batch} {fits.identity('train', experiment)}"
        asked = experiment, way, n, arguments.batch
        if arguments.shapes:
            facts = kept.found.get(name) or by_shapes(*asked)
        else:
            facts = kept.value(name, partial(compiled, *asked))
        rows.append(row(way if n > 1 else "any", n, facts))
    parameters = sum(x.size for x in jax.tree.leaves(experiment.template)) / 1e6
    return table(f"{path}: {parameters:.1f} M parameters, {arguments.batch} a device", rows)


if __name__ == "__main__":
    main()
