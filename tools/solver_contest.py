"""What the solver report measures: who takes part, what is sampled, how far it is from the data.

Every run goes over one kind of grid from the prior to t_end and ends with Tweedie's formula, so
that solvers differ in their steps alone. Evaluations are those that `Samples.nfe` counts, the
last one included.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

import sampling
from generation.sampler import Generated, Generator
from metrics.distances import distances
from metrics.features import FeatureExtractor
from metrics.fid import Moments, frechet_distance
from metrics.quality import ImageSet
from metrics.resumable import fingerprint
from metrics.statistics import Statistics
from options.choices import choose, require
from options.errors import InvalidValue, Words
from options.progress import progress_bar
from oracles import Mixture
from parameterization import Predictor
from sde_lib import Node, Process
from solvers import DDIM, AdaptiveODE, AdaptiveSDE, DPMSolverPP, Euler, Heun, StochasticHeun, grids
from solvers.predictor_corrector import (
    Ancestral,
    AnnealedLangevin,
    EulerMaruyama,
    Langevin,
    NoCorrector,
    PredictorCorrector,
)

MakeSolver = Callable[[float, bool], Any]


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A solver of the report.

    make: the solver from a number of steps, or of an adaptive one from its relative tolerance, and
        whether the samples have few dimensions.
    stages: evaluations of a step. noise: it draws noise on its way. tolerances: of an adaptive one.
    """

    title: str
    make: MakeSolver
    stages: int = 1
    noise: bool = False
    tolerances: tuple[float, ...] = ()


def _corrected(n: float, few: bool) -> PredictorCorrector:
    # Langevin's step is set by norms, which mean nothing in two dimensions.
    return PredictorCorrector(Ancestral(), AnnealedLangevin() if few else Langevin())


CONTESTANTS: dict[str, Contestant] = {
    "euler": Contestant("Euler", lambda n, few: Euler()),
    "heun": Contestant("Heun", lambda n, few: Heun(), stages=2),
    "ddim": Contestant("DDIM", lambda n, few: DDIM()),
    "dpm": Contestant("DPM-Solver++ 2M", lambda n, few: DPMSolverPP()),
    "ode": Contestant(
        "adaptive ODE (Dormand-Prince)",
        lambda rtol, few: AdaptiveODE("dopri5", rtol=rtol, atol=rtol),
        tolerances=(1e-2, 1e-3, 1e-4),
    ),
    "ode_bosh3": Contestant(
        "adaptive ODE (Bogacki-Shampine)",
        lambda rtol, few: AdaptiveODE("bosh3", rtol=rtol, atol=rtol),
        tolerances=(1e-1, 1e-2, 1e-3, 1e-4),
    ),
    "sde_dpm": Contestant(
        "SDE-DPM-Solver++ 2M", lambda n, few: DPMSolverPP(noise=True), noise=True
    ),
    "ancestral": Contestant(
        "ancestral (DDIM, eta 1)",
        lambda n, few: PredictorCorrector(Ancestral(), NoCorrector()),
        noise=True,
    ),
    "euler_maruyama": Contestant(
        "Euler-Maruyama",
        lambda n, few: PredictorCorrector(EulerMaruyama(), NoCorrector()),
        noise=True,
    ),
    "pc": Contestant("predictor-corrector, Langevin", _corrected, stages=2, noise=True),
    "stochastic_heun": Contestant(
        "Heun with churn 10",
        lambda n, few: StochasticHeun(int(n), churn=10.0),
        stages=2,
        noise=True,
    ),
    "adaptive_sde": Contestant(
        "adaptive SDE",
        lambda rtol, few: AdaptiveSDE(rtol=rtol, atol=0.39 * rtol),  # 0.0078 at 0.02, the defaults
        noise=True,
        tolerances=(0.5, 0.1, 0.02),
    ),
}


class Cell(NamedTuple):
    """One run of the report: a solver with one setting."""

    name: str
    setting: str
    solver: Any
    grid: Node


class Outcome(NamedTuple):
    """A measured run: mean evaluations of a sample, fraction that reached the end, metrics, and
    the seconds that drawing all of them takes, without compilation where there are two batches."""

    evaluations: float
    finished: float
    metrics: tuple[float, ...]
    seconds: float


@runtime_checkable
class Subject(Protocol):
    """What is sampled and measured.

    metrics: their names. few: of few dimensions. identity: all that the results depend on but
    solver, number and seed.
    """

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> tuple[str, ...]: ...

    @property
    def few(self) -> bool: ...

    @property
    def process(self) -> Process: ...

    @property
    def t_end(self) -> float: ...

    def identity(self) -> Mapping[str, Any]: ...

    def run(self, cell: Cell, count: int, seed: int) -> Outcome: ...

    def floor(self, count: int, seed: int) -> tuple[float, ...]: ...


def cells(
    subject: Subject,
    names: Sequence[str],
    budgets: Sequence[int],
    grid: str,
    tolerances: Mapping[str, Sequence[float]] | None = None,
) -> list[Cell]:
    """Every run of the report, checked: InvalidValue names what cannot be.

    tolerances: of adaptive solvers, in place of their own.
    """
    spaced = choose(grids.GRIDS, grid, "grid")()
    require(names, "solvers", Words("none"), f"some of {', '.join(CONTESTANTS)}")
    for name in names:
        require(name in CONTESTANTS, "solvers", name, f"some of {', '.join(CONTESTANTS)}")
        require(list(names).count(name) == 1, "solvers", Words(f"{name!r} twice"), "each once")

    def make_grid(steps: int) -> Node:
        return spaced(subject.process, steps, t_end=subject.t_end)

    found = []
    for name in names:
        who = CONTESTANTS[name]
        if who.tolerances:
            for rtol in (tolerances or {}).get(name, who.tolerances):
                require(rtol > 0, "tolerances", rtol, "positive numbers")
                solver = who.make(rtol, subject.few)
                found.append(Cell(name, f"rtol {rtol:g}", solver, make_grid(8)))
            continue
        for budget in budgets:
            steps, least = (budget - 1) // who.stages, 1 if grid != "published" else 2
            require(
                steps >= least,
                "budgets",
                Words(f"{budget} for {name}"),
                f"at least {least * who.stages + 1}: {who.stages} evaluations a step, and a last "
                "one",
            )
            solver = who.make(steps, subject.few)
            found.append(Cell(name, f"{steps} steps", solver, make_grid(steps)))
    for cell in found:
        try:
            cell.solver.validate(subject.process, cell.grid)
        except InvalidValue as error:
            but = f"{cell.name} cannot be used here: {error}"
            raise InvalidValue("solvers", but=but) from None
    return found


def default_mixture() -> Mixture:
    """Five Gaussians of unequal weight on a circle of radius 1.

    They overlap: between Gaussians far apart, distances show little but how many samples each got.
    """
    angle = 2 * np.pi * np.arange(5) / 5 + 0.3
    means = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], 1), jnp.float32)
    return Mixture(means, 0.2, jnp.array([0.3, 0.25, 0.2, 0.15, 0.1]))


@dataclasses.dataclass(frozen=True, eq=False)
class MixtureSubject:
    """Two-dimensional data with exact scores, so that all error is the solver's."""

    process: Process
    t_end: float
    data: Mixture = dataclasses.field(default_factory=default_mixture)
    metrics = ("sliced Wasserstein-2", "Wasserstein-2 of mean and covariance")
    few = True

    @property
    def name(self) -> str:
        return f"mixture of {len(self.data.weights)} Gaussians, exact score, {self.process}"

    def identity(self) -> Mapping[str, Any]:
        arrays = fingerprint([self.data.means, self.data.weights])
        return {"data": arrays, "std": self.data.std}

    def run(self, cell: Cell, count: int, seed: int) -> Outcome:
        began = time.perf_counter()
        made = sampling.sample(
            jax.random.key(seed), self.process, self.data, cell.solver, cell.grid, (count, 2)
        )
        x = np.asarray(made.x)
        seconds = time.perf_counter() - began
        return Outcome(float(made.nfe.mean()), float(made.ok.mean()), self.measure(x), seconds)

    def floor(self, count: int, seed: int) -> tuple[float, ...]:
        drawn = self.data.sample(jax.random.key(seed + 10_000), count)
        return self.measure(np.asarray(drawn))

    def measure(self, x: Float[np.ndarray, "n 2"]) -> tuple[float, ...]:
        """Distances of the points to the distribution itself: only the points are random."""
        return sliced_wasserstein(x, self.data), moment_distance(x, self.data)


def moment_distance(x: Float[np.ndarray, "n 2"], data: Mixture) -> float:
    """W2 between the Gaussians with the mean and covariance of the points and of the data."""
    means, weights = np.asarray(data.means, np.float64), np.asarray(data.weights, np.float64)
    mean = weights @ means
    away = means - mean
    covariance = (weights * away.T) @ away + data.std**2 * np.eye(len(mean))
    exact = Moments(len(x), mean, covariance)
    return math.sqrt(max(frechet_distance(Moments.of(x), exact), 0.0))


def sliced_wasserstein(x: Float[np.ndarray, "n 2"], data: Mixture, directions: int = 32) -> float:
    """sqrt of the mean over directions of W2^2 between projections of x and of the distribution.

    A projected mixture is a mixture in one dimension, whose quantiles at (i + 1/2) / n are matched
    with the sorted points; so the points alone make the distance noisy (Bonneel et al. 2015).
    """
    means, weights = np.asarray(data.means, np.float64), np.asarray(data.weights, np.float64)
    levels = (np.arange(len(x)) + 0.5) / len(x)
    squares = []
    for angle in np.pi * np.arange(directions) / directions:
        along = np.array([math.cos(angle), math.sin(angle)])
        centres = means @ along
        line = np.linspace(centres.min() - 8 * data.std, centres.max() + 8 * data.std, 20_000)
        cdf = ndtr((line[:, None] - centres) / data.std) @ weights
        quantiles = np.interp(levels, cdf / weights.sum(), line)
        squares.append(np.mean((np.sort(x @ along) - quantiles) ** 2))
    return math.sqrt(np.mean(squares))


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSubject:
    """An image model, by FID and KID of its samples to the training set.

    generator: how it is sampled; its solver and grid are not used. reference: features of the
    training set. held_out: of a set that is measured like samples.
    """

    name: str
    generator: Generator
    predict: Predictor
    extractor: FeatureExtractor
    reference: Statistics
    held_out: Float[np.ndarray, "n dim"]
    t_end: float
    metrics = ("FID", "KID")
    few = False

    @property
    def process(self) -> Process:
        return self.generator.sampler.process

    def identity(self) -> Mapping[str, Any]:
        return {
            "parameters": fingerprint(jax.tree.leaves(self.predict)),
            "extractor": self.extractor.identity,
            "reference": fingerprint([self.reference.features]),
            "batch_size": self.generator.batch_size,
        }

    def run(self, cell: Cell, count: int, seed: int) -> Outcome:
        sampler = dataclasses.replace(
            self.generator.sampler, solver=cell.solver, grid=cell.grid, denoise="tweedie"
        )
        generator = dataclasses.replace(self.generator, sampler=sampler)
        parts, seconds = self._timed(generator, count, seed)
        data, ok = (np.concatenate([getattr(p, name) for p in parts]) for name in ("data", "ok"))
        nfe = sum(part.nfe * len(part.data) for part in parts) / count
        labels = generator.labels(count)
        images = ImageSet("samples", count, lambda i: (data[i], labels[i]))
        metrics = self._measure(features_of(images, self.extractor))
        return Outcome(nfe, float(ok.mean()), metrics, seconds)

    def _timed(self, generator: Generator, count: int, seed: int) -> tuple[list[Generated], float]:
        """The samples, the first batch apart since its time has a compilation in it, and the
        seconds of all at the pace of the others."""
        labels, key = generator.labels(count), jax.random.key(seed)
        size = min(generator.batch_size or count, count)
        parts: list[Generated] = []
        took = [0.0]
        for of in filter(len, (labels[:size], labels[size:])):
            began, first = time.perf_counter(), sum(len(part.data) for part in parts)
            parts.append(generator.draw(self.predict, key, of, first_index=first))
            took.append(time.perf_counter() - began)
        return parts, took[-1] * count / len(parts[-1].data)

    def floor(self, count: int, seed: int) -> tuple[float, ...]:
        chosen = np.random.default_rng(seed).permutation(len(self.held_out))[:count]
        return self._measure(self.held_out[chosen])

    def _measure(self, features: Float[np.ndarray, "n dim"]) -> tuple[float, ...]:
        found = distances(Statistics.of(self.extractor, "samples", features), self.reference)
        return tuple(figure.value for figure in found)


def features_of(
    images: ImageSet, extractor: FeatureExtractor, batch_size: int = 128
) -> Float[np.ndarray, "n dim"]:
    """Features of every image; the last batch is filled up, so that one program serves all."""
    rows = []
    starts = range(0, images.count, batch_size)
    for start in progress_bar(starts, f"features of {images.name}", unit="batch", leave=False):
        wanted = np.minimum(np.arange(start, start + batch_size), images.count - 1)
        rows.append(np.asarray(extractor.apply(images.read(wanted)[0]).features))
    return np.concatenate(rows)[: images.count]
