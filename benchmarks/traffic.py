"""What a training step reads and writes, by compilation alone: nothing is run, no GPU is needed.

    JAX_PLATFORMS=cpu python -m benchmarks.traffic --precision bfloat16 --batch 16

The step of a configuration is compiled for a described H100, and the bytes of the operands and of
the results of each kernel are added up by kind. A GPU reads again what its caches lost, not what
they hold, so that this is neither a bound nor a time; but most kernels of such a step wait for
memory, and two forms of a network can be compared.
"""

import argparse
from collections import Counter
from collections.abc import Iterator

import jax

from benchmarks import fits, no_gpu
from benchmarks.breakdown import CONTAINERS, SILENT, kind_of
from benchmarks.hlo import Instruction, Program, parse
from benchmarks.tables import Cell, Table
from benchmarks.worker import ROOT

MOVES_NOTHING = SILENT | CONTAINERS


def kernels(program: Program, computation: str = "") -> Iterator[Instruction]:
    """What runs on the device, a loop's body once."""
    for instruction in program.computations[computation or program.entry]:
        if instruction.body:
            yield from kernels(program, instruction.body)
        elif instruction.what not in MOVES_NOTHING:
            yield instruction


def moved(instruction: Instruction, program: Program) -> int:
    """Bytes of its results and of its operands."""
    read = (program.named[name] for name in instruction.operands if name in program.named)
    return instruction.bytes + sum(operand.bytes for operand in read)


def by_kind(program: Program) -> tuple[Counter[str], Counter[str]]:
    """Bytes and numbers of kernels of each kind."""
    total: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for kernel in kernels(program):
        kind = kind_of(kernel, program)
        total[kind] += moved(kernel, program)
        count[kind] += 1
    return total, count


def table(program: Program) -> Table:
    """GB by kind, most first."""
    total, count = by_kind(program)
    rows: list[list[Cell]] = [[kind, n / 1e9, str(count[kind])] for kind, n in total.most_common()]
    rows.append(["together", sum(total.values()) / 1e9, str(sum(count.values()))])
    return Table("Read and written by a training step", ["what", "GB", "kernels"], rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/ve/cifar10_ncsnpp.py")
    parser.add_argument("--precision", default="bfloat16", help="of training")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", choices=fits.DEVICES, default="gpu")
    arguments = parser.parse_args()
    from experiment import kinds
    from experiment.image import ImageExperiment

    jax.config.update("jax_enable_compilation_cache", False)
    config = kinds.load(ROOT / arguments.config, {"precision.training": arguments.precision})
    mesh = fits.DEVICES[arguments.device]()
    with no_gpu.traced_for(mesh):
        lowered = fits.train(ImageExperiment(config), mesh, arguments.batch)
        text = lowered.compile().as_text()
    assert text is not None
    print(table(parse(text)).markdown())


if __name__ == "__main__":
    main()
