"""Tables of measurements: evaluations of checkpoints, solvers with their cost, guidance."""

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sampling
from evaluation.plots import pyplot
from experiment import kinds, modes
from experiment.experiment import at
from metrics.report import Report
from options.errors import UserError
from oracles import Mixture
from parameterization import as_pytree
from sde_lib import VPSDE, Node
from solvers import AdaptiveODE, AdaptiveSDE, DPMSolverPP, Heun
from solvers.grids import uniform_grid
from solvers.predictor_corrector import (
    Ancestral,
    EulerMaruyama,
    Langevin,
    NoCorrector,
    NoPredictor,
    PredictorCorrector,
    ReverseDiffusion,
)
from solvers.sampler import in_space
from storage.pictures import Panel
from tools import guidance_contest, solver_report
from tools.figures.base import Exact, Work
from tools.figures.models import AFHQ, DIGITS, OF_AFHQ, Classifier, Model, cifar10
from tools.solver_contest import Cell, Outcome, Subject, default_mixture, sliced_wasserstein

# An evaluation of a stand-in: few of everything, a likelihood that is not accurate.
FEW_EVALUATED = {
    "eval.num_samples": 12, "eval.likelihood_images": 2, "eval.max_images": 16, "eval.rtol": 0.1,
    "eval.atol": 0.1, "eval.batch_size": "6", "eval.memorisation": False,
}  # fmt: skip
NAMES = {
    "fid": "FID", "kid": "KID", "inception_score": "IS", "bits_per_dim": "NLL, bits/dim",
    "loss": "loss",
}  # fmt: skip


def judged(model: Model) -> Model:
    """The model with a stand-in of digits, whose extractor comes with the project."""
    return dataclasses.replace(model, stand_in=DIGITS)


def evaluated(work: Work, where: str, name: str, more: Mapping[str, Any]) -> tuple[Any, Report]:
    """The folder and the report of one evaluation of weights or a workdir."""
    trained = at(where)
    config = kinds.load(trained.place, more)
    folder = trained.workdir if trained.weights is None else work.out / name
    command = modes.Command(config, folder, trained.weights)
    ((made, report),) = modes.evaluated(command).values()
    return made, report


@dataclasses.dataclass(frozen=True)
class Evaluations:
    """Metrics of several models side by side, as `--mode eval` measures them.

    models: a row each; one that is not there is left out, and named. metrics: of NAMES. overrides:
    of their configurations, for how samples are drawn.
    """

    models: tuple[Model, ...]
    metrics: tuple[str, ...] = ("fid", "inception_score", "bits_per_dim")
    overrides: tuple[tuple[str, Any], ...] = ()
    samples: int = 50_000

    def make(self, work: Work) -> None:
        count = {"eval.num_samples": work.count(12, self.samples)}
        more = (FEW_EVALUATED if work.small else {}) | count
        found: list[tuple[str, Report]] = []
        missing: list[UserError] = []
        models = self.models[:1] if work.small or work.weights else self.models
        for model in map(judged, models):
            asked = dict(self.overrides) | model.overrides(work) | more
            try:
                report = evaluated(work, model.where(work), model.run.partition("/")[2], asked)[1]
            except UserError as error:
                missing.append(error)
                continue
            found.append((model.named(work), report))
        if not found:
            raise missing[0]
        for error in missing:
            print(f"left out: {error}")
        values = [(title, {f.name: f for f in report.figures}) for title, report in found]
        rows = [
            [title, *(_shown(by_name.get(name)) for name in self.metrics)]
            for title, by_name in values
        ]
        work.table("metrics", ["model", *(NAMES[name] for name in self.metrics)], rows)

    def needs(self) -> str:
        titles = ", ".join(model.title for model in self.models)
        return f"{titles}, their data, the extractor's weights; {self.samples:,} samples each"


def _shown(figure: Any) -> str:
    """A metric with its error; "" for none."""
    if figure is None:
        return ""
    error = f" ± {figure.standard_error:.2g}" if figure.standard_error else ""
    return f"{figure.value:.4g}{error}"


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Confusion matrices of a classifier at noise levels between its best and its worst, and its
    accuracy against the noise."""

    classifier: Classifier = OF_AFHQ

    def make(self, work: Work) -> None:
        few = {"eval.max_images": 60, "eval.levels": 6, "eval.batch_size": "60"}
        more = few if work.small else {}
        made, _ = evaluated(work, self.classifier.where(work), "classifier", more)
        for name in ("confusion", "accuracy"):
            shutil.copyfile(made / f"{name}.png", work.out / f"{name}.png")
            print(f"{work.out / name}.png")

    def needs(self) -> str:
        return f"a classifier in {self.classifier.run}, its images; minutes on a GPU"


# Solvers of one model, with their cost.


@dataclasses.dataclass(frozen=True)
class Entry:
    """A solver of a table.

    steps: of its grid, and `few` on a stand-in. rough: what stands for the solver there, with a
    tolerance that takes few steps; None for itself.
    """

    title: str
    solver: Any
    steps: int
    few: int = 25
    rough: Any = None

    def chosen(self, work: Work) -> tuple[Any, int]:
        """The solver, and the steps of its grid."""
        return (self.rough or self.solver, self.few) if work.small else (self.solver, self.steps)


def pc(predictor: Any, corrector: Any = None) -> PredictorCorrector:
    """A predictor with a corrector, by default none."""
    return PredictorCorrector(predictor, corrector or NoCorrector())


@dataclasses.dataclass(frozen=True)
class Solvers:
    """Solvers of one model: FID, KID, evaluations and seconds, and samples of each from the same
    noise.

    model: which. entries: a row each; the seconds of the first are those that others are compared
    with. samples: of each. pictures: whether some are shown. plot: title of a plot of FID against
    evaluations; "" for none.
    """

    model: Model = AFHQ
    entries: tuple[Entry, ...] = ()
    samples: int = 1000
    pictures: bool = True
    plot: str = ""

    def make(self, work: Work) -> None:
        count, size = work.count(12, self.samples), 6 if work.small else 16
        where = judged(self.model).where(work)
        extractor = "digits" if work.small else "auto"
        args = [f"--weights={where}", f"--batch_size={size}", f"--extractor={extractor}"]
        subject = solver_report.subject_of(solver_report.parser().parse_args(args))
        rows, shown, outcomes, settings = [], [], [], []
        for entry, cell in self._cells(work, subject):
            found = subject.run(cell, count, work.seed)
            outcomes.append(found)
            settings.append(f"{entry.title}, {cell.setting}")
            pace = outcomes[0].seconds / found.seconds
            metrics = [f"{value:.3g}" for value in found.metrics]
            spent = [f"{found.evaluations:.0f}", f"{found.seconds:.1f}", f"{pace:.2g}"]
            rows.append([entry.title, cell.setting, *metrics, *spent])
            if self.pictures:
                shown.append(self._samples(work, subject, cell, size))
        who = judged(self.model).named(work)
        header = [
            f"solver of {who}",
            "setting",
            *subject.metrics,
            "evaluations",
            "seconds",
            "times as fast",
        ]
        work.table("solvers", header, rows)
        if shown:
            work.panels("solvers", Panel(np.stack(shown), names=settings))
        if self.plot:
            self._draw(work, subject, dict(zip(settings, outcomes, strict=True)))

    def _cells(self, work: Work, subject: Any) -> Iterator[tuple[Entry, Cell]]:
        space = subject.generator.sampler.space
        for entry in self.entries:
            solver, steps = entry.chosen(work)
            grid = uniform_grid(subject.process, steps, t_end=subject.t_end)
            solver = in_space(solver, space)
            rtol = getattr(solver, "rtol", None)
            setting = f"rtol {rtol:g}" if rtol else f"{steps} steps"
            yield entry, Cell(entry.title, setting, solver, grid)

    def _samples(self, work: Work, subject: Any, cell: Cell, size: int) -> np.ndarray:
        """Some samples, of the program that is compiled already."""
        sampler = dataclasses.replace(
            subject.generator.sampler, solver=cell.solver, grid=cell.grid, denoise="tweedie"
        )
        generator = dataclasses.replace(subject.generator, sampler=sampler)
        labels = generator.labels(size)
        return generator.draw(subject.predict, jax.random.key(work.seed), labels).data[:6]

    def _draw(self, work: Work, subject: Subject, outcomes: dict[str, Outcome]) -> None:
        """FID against evaluations."""
        figure, axis = pyplot().subplots(figsize=(7, 5.2), layout="constrained")
        for setting, found in outcomes.items():
            marker = "*" if "rtol" in setting else "x"
            axis.plot(found.evaluations, found.metrics[0], marker, ms=10, label=setting)
        axis.set(xscale="log", xlabel="network evaluations a sample", ylabel=subject.metrics[0])
        axis.set_title(self.plot)
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
        work.plot("fid", figure)

    def needs(self) -> str:
        return (
            f"{self.model.title}, its images, the extractor's weights; {self.samples:,} samples of "
            f"each of {len(self.entries)} solvers"
        )


def adaptive(rtol: float) -> Entry:
    """The adaptive solver of the reverse SDE at a tolerance."""
    return Entry("adaptive", AdaptiveSDE(rtol), 8, 8, AdaptiveSDE(10 * rtol))


FAST = (
    Entry("with Langevin", pc(ReverseDiffusion(), Langevin(0.16)), 2000, 50),
    Entry("without", pc(ReverseDiffusion()), 2000, 50),
    adaptive(0.02),
)
BY_SNR = tuple(
    Entry(f"snr {snr:g}", pc(ReverseDiffusion(), Langevin(snr)), 2000)
    for snr in (0.05, 0.1, 0.15, 0.16, 0.2, 0.25)
)
BY_TOLERANCE = (
    *(adaptive(rtol) for rtol in (0.01, 0.02, 0.05, 0.1)),
    *(
        Entry("Euler-Maruyama", pc(EulerMaruyama()), steps, few)
        for steps, few in ((1000, 24), (500, 12), (250, 6))
    ),
)
_PREDICTORS = {
    "ancestral": Ancestral(variance="small"),
    "reverse diffusion": ReverseDiffusion(),
    "probability flow": ReverseDiffusion(probability_flow=True),
}
TABLE_1 = tuple(
    entry
    for name, predictor in _PREDICTORS.items()
    for entry in (
        Entry(f"{name}, P1000", pc(predictor), 1000, 10),
        Entry(f"{name}, P2000", pc(predictor), 2000, 20),
        Entry(f"{name}, PC1000", pc(predictor, Langevin(0.16)), 1000, 10),
    )
) + (Entry("Langevin alone, C2000", pc(NoPredictor(), Langevin(0.16)), 2000, 20),)


# Guidance.


@dataclasses.dataclass(frozen=True)
class Contest:
    """All strategies of guidance on an unconditional model, and without any: class accuracy, FID,
    seconds; what automatic guidance measures of the classifier beside the score, its ratio of norms
    among it."""

    model: Model = dataclasses.replace(AFHQ, stand_in=DIGITS)
    classifier: Classifier = OF_AFHQ
    samples: int = 300

    def make(self, work: Work) -> None:
        count, small = work.count(10, self.samples), work.small
        args = [
            f"--weights={self.model.where(work)}", f"--classifier={self.classifier.where(work)}",
            f"--out={work.out}", f"--samples={count}", "--free_scales=",
        ]  # fmt: skip
        args += ["--num_steps=6", "--batch_size=10", "--held_out=40", "--scales=3"] if small else []
        args += [] if small else ["--scales=1,500", "--zone=1,100", "--s_max_classifier=50"]
        guidance_contest.contest(guidance_contest.parser().parse_args(args))

    def needs(self) -> str:
        return (
            f"{self.model.title}, a classifier in {self.classifier.run}, their images, the "
            f"extractor's weights; {self.samples} samples of each strategy"
        )


# Of exact data.


@dataclasses.dataclass(frozen=True)
class Flows(Exact):
    """Solvers of the probability flow and of the reverse SDE on points in the plane with the exact
    score, and with one that is wrong: distance to the data by evaluations.

    wrong: the fraction by which the second score is too small.
    """

    wrong: float = 0.1

    def make(self, work: Work) -> None:
        process, data = VPSDE(), default_mixture()
        count = work.count(400, 10_000)
        budgets = (32,) if work.small else (8, 16, 32, 64, 128)
        rows = []
        entries = {
            "ODE, Heun": lambda n: Heun(),
            "ODE, DPM-Solver++": lambda n: DPMSolverPP(),
            "SDE, Euler-Maruyama": lambda n: pc(EulerMaruyama()),
            "SDE, ancestral": lambda n: pc(Ancestral()),
        }
        for title, make in entries.items():
            for steps in budgets:
                solver = make(steps)
                grid = uniform_grid(process, steps // getattr(solver, "stages", 1), t_end=1e-3)
                rows.append([title, *self._row(process, data, solver, grid, count)])
        own_steps: dict[str, Any] = {
            "ODE, adaptive": AdaptiveODE("dopri5", rtol=1e-3, atol=1e-3),
            "SDE, adaptive": AdaptiveSDE(rtol=0.05, atol=0.02),
        }
        for title, solver in own_steps.items():
            grid = uniform_grid(process, 8, t_end=1e-3)
            rows.append([title, *self._row(process, data, solver, grid, count)])
        header = ["solver", "evaluations", "distance, exact score", "distance, score too small"]
        work.table("ode_sde", header, rows)

    def _row(self, process: Any, data: Mixture, solver: Any, grid: Node, count: int) -> list[str]:
        """Evaluations, and the distance to the data with both scores."""

        def too_small(x: jax.Array, node: Node, cond: Any) -> Any:
            found = data(x, node)
            return found.with_score_added(-self.wrong * found.score)

        cells = []
        for predict in (data, as_pytree(too_small)):
            made = sampling.sample(jax.random.key(0), process, predict, solver, grid, (count, 2))
            cells.append(f"{sliced_wasserstein(np.asarray(made.x), data):.3f}")
            evaluations = float(jnp.mean(made.nfe))
        return [f"{evaluations:.0f}", *cells]


DISCRETE = (
    cifar10("ve", "ddpm_discrete", "CIFAR-10, the discrete model (VE, SMLD)"),
    cifar10("vp", "ddpm_discrete", "CIFAR-10, the discrete model (VP, DDPM)"),
)
LIKELIHOODS = (
    cifar10("vp", "ddpm_discrete", "DDPM (L_simple)"),
    cifar10("vp", "ddpm", "DDPM cont. (VP)"),
    cifar10("subvp", "ddpm", "DDPM cont. (sub-VP)"),
    cifar10("vp", "ddpmpp", "DDPM++ cont. (VP)"),
    cifar10("subvp", "ddpmpp", "DDPM++ cont. (sub-VP)"),
    cifar10("vp", "ddpmpp_deep", "DDPM++ cont. deep (VP)"),
    cifar10("subvp", "ddpmpp_deep", "DDPM++ cont. deep (sub-VP)"),
)
QUALITY = (
    cifar10("vp", "ddpm_discrete", "DDPM"),
    cifar10("ve", "ncsnpp_discrete", "NCSN++"),
    cifar10("ve", "ncsnpp", "NCSN++ cont. (VE)"),
    cifar10("ve", "ncsnpp_deep", "NCSN++ cont. deep (VE)"),
    cifar10("vp", "ddpmpp_discrete", "DDPM++"),
    cifar10("vp", "ddpmpp", "DDPM++ cont. (VP)"),
    cifar10("subvp", "ddpmpp", "DDPM++ cont. (sub-VP)"),
    cifar10("vp", "ddpmpp_deep", "DDPM++ cont. deep (VP)"),
    cifar10("subvp", "ddpmpp_deep", "DDPM++ cont. deep (sub-VP)"),
)
