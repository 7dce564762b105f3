"""What fits a card, by compilation alone: nothing is run, and no GPU is needed.

    JAX_PLATFORMS=cpu python -m benchmarks.fits --out runs/fits

For each configuration that is for GPUs: its parameters, the memory of a training step, of a round
of its sampler and of the likelihood's equation, and the most examples that fit on cards of 16, 24,
40 and 80 GB. Each program is compiled for two small batches b; what XLA says that it needs is

    needs(b) = needs_0 + each b                                                            (1)

by the line through both. Needs jax with its plugin for CUDA; `--device cpu` compiles for the CPU,
whose programs need about twice as much. What is compiled is kept in `--out`: the command can be cut
and given again.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks import no_gpu
from benchmarks.tables import Cell, Table
from benchmarks.worker import ROOT
from options.memory import footprint
from options.progress import progress_bar
from storage import json_text

if TYPE_CHECKING:
    from experiment.image import ImageExperiment

CONFIGS = ("configs/*/cifar10_*.py", "configs/ve/*_*[0-9].py", "configs/folder_64.py")
CARDS = (16, 24, 40, 80)  # GB
# What XLA may use of a card: JAX takes three quarters unless asked otherwise, and "auto" 0.9 of it.
USABLE = 0.9 * 0.75
PIXELS = 16 * 32 * 32  # of the larger of the two batches, of two examples at least
DEVICES: dict[str, Callable[[], Mesh]] = {"gpu": no_gpu.described_gpu, "cpu": no_gpu.cpu}


@dataclass(frozen=True)
class Line:
    """Equation (1) through two batches and the bytes that their programs need.

    Attributes:
      small, large: batches. at_small, at_large: bytes.
    """

    small: int
    large: int
    at_small: int
    at_large: int

    @property
    def each(self) -> float:
        """Bytes of one example more."""
        return (self.at_large - self.at_small) / (self.large - self.small)

    def needs(self, batch: int) -> float:
        """Bytes of a program for this batch."""
        return self.at_large + self.each * (batch - self.large)

    def largest(self, budget: float) -> int:
        """The most examples within so many bytes; 0 for none."""
        return max(0, int(self.large + (budget - self.at_large) // self.each))


def train(experiment: "ImageExperiment", mesh: Mesh, batch: int) -> jax.stages.Lowered:
    """The training step, all examples at once."""
    from training import loop, parallel
    from training.program import apply_gradient, mean_gradient

    options, task, ways = experiment.training, experiment.task, parallel.ShardMap(mesh)
    state = jax.eval_shape(partial(loop.at_step_0, task, options), experiment.template)
    gradient = partial(mean_gradient, task.loss, batch)
    update = partial(apply_gradient, options.optimizer, options.ema)
    along = NamedSharding(mesh, PartitionSpec(None, parallel.AXIS))
    batches = {
        "image": jax.ShapeDtypeStruct((1, batch, *experiment.shape), jnp.float32, sharding=along),
        "label": jax.ShapeDtypeStruct((1, batch), jnp.int32, sharding=along),
    }
    return ways.lower(gradient, update, _on(mesh, state), batches)


def sample(experiment: "ImageExperiment", mesh: Mesh, batch: int) -> jax.stages.Lowered:
    """A round of the sampler that the configuration names."""
    import sampling

    sampler, predict, cond = experiment.sampler, *_model(experiment, mesh, batch)
    noise = jax.eval_shape(lambda: sampling.KeyedNoise(jax.random.split(jax.random.key(0), batch)))
    rest = _on(mesh, (sampler.grid, noise, cond, jnp.zeros(0)))
    run = sampling.RunContext(predict.at(sampler.precision), None, *rest)
    return sampling.lower(sampler.process, sampler.solver, run, (batch, *sampler.shape))


def evaluate(experiment: "ImageExperiment", mesh: Mesh, batch: int) -> jax.stages.Lowered:
    """The equation of the likelihood, with one probe: what an evaluation needs most for."""
    import likelihood

    predict, cond = _model(experiment, mesh, batch)
    x = _on(mesh, jax.ShapeDtypeStruct((batch, *experiment.shape), jnp.float32))
    return likelihood.lower(experiment.process, predict, x, cond)


PROGRAMS: dict[str, Callable[["ImageExperiment", Mesh, int], jax.stages.Lowered]] = {
    "train": train,
    "sample": sample,
    "evaluate": evaluate,
}


def _model(experiment: "ImageExperiment", mesh: Mesh, batch: int) -> tuple[Any, dict[str, Any]]:
    """The predictor and the conditioning of a batch, without values."""
    predict = experiment.task.predictor(_on(mesh, experiment.template))
    labels = jax.ShapeDtypeStruct((batch,), jnp.int32)
    return predict, _on(mesh, {"labels": labels} if experiment.labels else {})


def _on(mesh: Mesh, tree: Any) -> Any:
    """Shapes in place of the values, whole on the device."""
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), tree)


def bytes_of(kind: str, experiment: "ImageExperiment", mesh: Mesh, batch: int) -> int:
    """What a compiled program needs on the device."""
    with no_gpu.traced_for(mesh):
        return footprint(PROGRAMS[kind](experiment, mesh, batch).compile())


def batches(shape: Sequence[int]) -> tuple[int, int]:
    """The two that are compiled for images of (height, width, channels)."""
    large = max(2, PIXELS // (shape[0] * shape[1]))
    return large // 2, large


class Kept:
    """What was compiled, in a file: two configurations with one network are compiled once."""

    def __init__(self, path: Path):
        self._path = path
        self.found: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}

    def bytes_of(self, kind: str, experiment: "ImageExperiment", device: str, batch: int) -> int:
        """As the function of that name, compiled unless it is in the file."""
        key = f"{device} {kind} {batch} {identity(kind, experiment)}"
        if key not in self.found:
            self.found[key] = bytes_of(kind, experiment, DEVICES[device](), batch)
            json_text.write(self._path, self.found)
        return self.found[key]


def identity(kind: str, experiment: "ImageExperiment") -> str:
    """A hash of all that the memory of a program depends on."""
    precision = experiment.options.precision
    solver = experiment.sampler.solver if kind == "sample" else None
    made_of = f"{experiment.network} {experiment.shape} {precision} {solver}"
    return hashlib.sha256(made_of.encode()).hexdigest()[:12]


def line_of(kept: Kept, kind: str, experiment: "ImageExperiment", device: str) -> Line:
    """Equation (1) of a program."""
    small, large = batches(experiment.shape)
    at = (kept.bytes_of(kind, experiment, device, b) for b in (small, large))
    return Line(small, large, *at)


def row(name: str, parameters: int, lines: Mapping[str, Line]) -> list[Cell]:
    """Of the table: needs in GB of the training state, MB an example, and batches."""
    cells: list[Cell] = [name, parameters / 1e6]
    for line in lines.values():
        fits = (line.largest(USABLE * card * 1e9) for card in CARDS)
        cells += [line.each / 1e6, " / ".join(map(str, fits))]
    return cells


def table(rows: list[list[Cell]]) -> Table:
    """All configurations."""
    header = ["configuration", "parameters, M"]
    for kind in PROGRAMS:
        header += [f"{kind}: MB an example", f"batch on {' / '.join(map(str, CARDS))} GB"]
    return Table("What fits a card", header, rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/fits"))
    parser.add_argument("--device", choices=DEVICES, default="gpu")
    parser.add_argument("--precision", default="tf32", help="of training")
    parser.add_argument("--configs", default=",".join(CONFIGS), help="patterns between commas")
    arguments = parser.parse_args()
    from experiment import kinds
    from experiment.image import ImageExperiment

    jax.config.update("jax_enable_compilation_cache", False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = Kept(arguments.out / "bytes.json")
    paths = [p for each in arguments.configs.split(",") for p in sorted(ROOT.glob(each))]
    rows = []
    for path in progress_bar(paths, "compiling", unit="configuration"):
        config = kinds.load(path, {"precision.training": arguments.precision})
        experiment = ImageExperiment(config)
        count = sum(x.size for x in jax.tree.leaves(experiment.template))
        lines = {kind: line_of(kept, kind, experiment, arguments.device) for kind in PROGRAMS}
        rows.append(row(str(path.relative_to(ROOT / "configs")), count, lines))
        text = table(rows).markdown()
        (arguments.out / "fits.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
