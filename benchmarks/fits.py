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

CONFIGS = (  # no classifier, and no file that others share
    *("configs/*/cifar10_*[!r].py", "configs/ve/*_*[0-9].py", "configs/ve/ncsn_mnist.py"),
    *("configs/vp/[!d]*_256.py", "configs/folder_64.py"),
)
CARDS = (16, 24, 40, 80)  # GB
# What XLA may use of a card: JAX takes three quarters unless asked otherwise, and "auto" 0.9 of it.
USABLE = 0.9 * 0.75
PIXELS = 16 * 32 * 32  # of the larger of the two batches, of two examples at least
# Memory is settled before code is made of a program that is not to run: the least work on it.
UNOPTIMISED: dict[str, str | bool] = {
    "xla_backend_optimization_level": "0",
    "xla_llvm_disable_expensive_passes": True,
    "xla_gpu_disable_gpuasm_optimizations": True,
}
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


def train(
    experiment: "ImageExperiment", mesh: Mesh, batch: int, strategy: str = "shard_map"
) -> jax.stages.Lowered:
    """The training step over all devices of the mesh, the `batch` examples of each all at once."""
    from training import parallel
    from training.program import apply_gradient, mean_gradient

    options, task = experiment.training, experiment.task
    gradient = partial(mean_gradient, task.loss, batch)
    update = partial(apply_gradient, options.optimizer, options.ema)
    state, batches = train_arguments(experiment, mesh, batch, strategy)
    return parallel.STRATEGIES[strategy](mesh).lower(gradient, update, state, batches)


def train_arguments(
    experiment: "ImageExperiment", mesh: Mesh, batch: int, strategy: str
) -> tuple[Any, Any]:
    """Shapes and shardings of what the training step is given: the state, and one step's batch."""
    from training import loop, parallel

    task, ways = experiment.task, parallel.STRATEGIES[strategy](mesh)
    at_0 = partial(loop.at_step_0, task, experiment.training)
    state = jax.eval_shape(at_0, experiment.template)
    examples = (1, batch * mesh.size)
    along = NamedSharding(mesh, PartitionSpec(None, parallel.AXIS))
    batches = {
        "image": jax.ShapeDtypeStruct((*examples, *experiment.shape), jnp.float32, sharding=along),
        "label": jax.ShapeDtypeStruct(examples, jnp.int32, sharding=along),
    }
    return jax.tree.map(_shape, state, ways.sharding(state)), batches


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
    return jax.tree.map(lambda x: _shape(x, whole), tree)


def _shape(x: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    """An array without its values, where it is to be."""
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def bytes_of(kind: str, experiment: "ImageExperiment", mesh: Mesh, batch: int) -> int:
    """What a compiled program needs on the device."""
    with no_gpu.traced_for(mesh):
        lowered = PROGRAMS[kind](experiment, mesh, batch)
        return footprint(lowered.compile(compiler_options=UNOPTIMISED))


def batches(shape: Sequence[int]) -> tuple[int, int]:
    """The two that are compiled for images of (height, width, channels)."""
    large = max(2, PIXELS // (shape[0] * shape[1]))
    return large // 2, large


class Kept:
    """What was found by compiling, in a file, so that it is compiled once.

    found: by the name of a program.
    """

    def __init__(self, path: Path):
        self._path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def value(self, name: str, find: Callable[[], Any]) -> Any:
        """What the file has under this name; if nothing, what `find` says, which is then kept."""
        if name not in self.found:
            self.found[name] = find()
            json_text.write(self._path, self.found)
        return self.found[name]


def identity(kind: str, experiment: "ImageExperiment") -> str:
    """A hash of all that the memory of a program depends on."""
    precision = experiment.options.precision
    solver = experiment.sampler.solver if kind == "sample" else None
    made_of = f"{experiment.network} {experiment.shape} {precision} {solver}"
    return hashlib.sha256(made_of.encode()).hexdigest()[:12]


def line_of(kept: Kept, kind: str, experiment: "ImageExperiment", device: str) -> Line:
    """Equation (1) of a program; two configurations with one network are compiled once."""
    small, large = batches(experiment.shape)

    def at(batch: int) -> int:
        name = f"{device} {kind} {batch} {identity(kind, experiment)}"
        mesh = DEVICES[device]
        return kept.value(name, lambda: bytes_of(kind, experiment, mesh(), batch))

    return Line(small, large, at(small), at(large))


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
