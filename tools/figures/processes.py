"""Figures of noising processes, on data in one or two dimensions whose distributions are exact."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sampling
from evaluation.plots import pixels, pyplot
from oracles import Mixture, log_reverse
from sampling import ReplayedNoise
from sde_lib import (
    VESDE,
    VPSDE,
    DDPMSchedule,
    Node,
    Process,
    SMLDSchedule,
    SubVPSDE,
    posterior_of,
    transition,
)
from solvers import Heun
from solvers.grids import uniform_grid
from solvers.predictor_corrector import (
    AnnealedLangevin,
    EulerMaruyama,
    NoCorrector,
    NoPredictor,
    PredictorCorrector,
)
from tools.figures.base import Exact, Work
from tools.solver_contest import default_mixture

# Two unequal groups on a line, the data of all figures in one dimension.
LINE = Mixture(jnp.array([[-1.6], [1.0]]), 0.25, jnp.array([0.35, 0.65]))
EULER = PredictorCorrector(EulerMaruyama(), NoCorrector())
VP, VE, SUBVP = VPSDE(), VESDE(0.01, 4.0), SubVPSDE()
NAMES: dict[Process, str] = {VP: "VP", VE: "VE", SUBVP: "sub-VP"}
START = 1e-3  # of the times that are drawn
ORANGE, BLUE, GREEN = "#c8641a", "#1f5fa8", "#2f8f4e"


def _axes(rows: int, columns: int, width: float = 4.6, height: float = 3.9) -> tuple[Any, Any]:
    """A figure of matplotlib and its axes, (rows, columns)."""
    size = (max(width * columns, 6.2), max(height * rows, 5.2))
    return pyplot().subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)


def _density(data: Mixture, node: Node, x: np.ndarray) -> np.ndarray:
    """Of x_t on a line of places (m,), at one node, (m,)."""
    at = Node(*(jnp.full(len(x), field) for field in node))
    return np.exp(data.log_prob(at, jnp.asarray(x, jnp.float32)[:, None]))


def _heat(axis: Any, process: Process, data: Mixture, t: np.ndarray, most: float) -> None:
    """The density of x_t over time, each column by its largest, and what the axes are."""
    x = np.linspace(-most, most, 240)
    node = process.node(jnp.asarray(t, jnp.float32))
    columns = [_density(data, Node(*(f[i] for f in node)), x) for i in range(len(t))]
    shown = np.stack([column / column.max() for column in columns], 1)
    axis.pcolormesh(t, x, shown, cmap="Greys", vmin=0, vmax=1.6, shading="nearest", rasterized=True)
    axis.set(xlabel="time t", ylabel="x_t", ylim=(-most, most))


def _width(process: Process) -> float:
    """How far a picture reaches: 2.5 standard deviations of the last marginal, or the data."""
    return max(3.0, 2.5 * process.prior_std)


@dataclasses.dataclass(frozen=True)
class Moments(Exact):
    """Mean and variance of x_t for data at one point, by process.

    sigma_max: of VE.
    """

    sigma_max: float = 50.0

    def make(self, work: Work) -> None:
        figure, axes = _axes(1, 2)
        t = jnp.linspace(1e-5, 1.0, 400)
        for process, name in {VESDE(0.01, self.sigma_max): "VE", VP: "VP", SUBVP: "sub-VP"}.items():
            mean, std = process.marginal(jnp.ones((len(t), 1)), t)
            style = "--" if process == SUBVP else "-"  # its mean is that of VP
            axes[0, 0].plot(t, mean[:, 0], style, label=name)
            axes[0, 1].plot(t, std**2, style, label=name)
        axes[0, 0].set(title="E[x_t] of x_0 = 1", xlabel="time t")
        axes[0, 1].set(title="Var[x_t | x_0]", xlabel="time t", yscale="log", ylim=(1e-5, None))
        for axis in axes.flat:
            axis.grid(alpha=0.3)
            axis.legend()
        work.plot("moments", figure)


def forward_paths(process: Process, data: Mixture, t: np.ndarray, count: int) -> np.ndarray:
    """Paths of the forward equation from data, (times, count)."""
    x_0 = data.sample(jax.random.key(1), count)
    return np.asarray(process.path(jax.random.key(2), x_0, jnp.asarray(t, jnp.float32)))[..., 0]


def _sampled(solver: Any) -> Callable[[Process, Mixture, np.ndarray, int], np.ndarray]:
    def paths(process: Process, data: Mixture, t: np.ndarray, count: int) -> np.ndarray:
        grid = process.node(jnp.asarray(t[::-1], jnp.float32))
        made = sampling.sample(
            jax.random.key(3), process, data, solver, grid, (count, 1), denoise="none",
            frames=len(t),
        )  # fmt: skip
        assert made.path is not None
        return made.path[::-1, :, 0]

    return paths


reverse_paths, flow_paths = _sampled(EULER), _sampled(Heun())
WAYS = {
    "forward SDE, data to noise": forward_paths,
    "reverse SDE, noise to data": reverse_paths,
    "probability flow, noise to data": flow_paths,
}


@dataclasses.dataclass(frozen=True)
class Ways(Exact):
    """Paths of the forward and reverse equations and of the probability flow, on the density.

    processes: a row each. ways: of WAYS, a column each, by their first words.
    """

    processes: tuple[Process, ...] = (VP,)
    ways: tuple[str, ...] = ("forward", "reverse", "probability")

    def make(self, work: Work) -> None:
        chosen = {n: f for n, f in WAYS.items() if n.startswith(self.ways)}
        figure, axes = _axes(len(self.processes), len(chosen), height=3.6)
        t = np.linspace(START, 1.0, 101 if work.small else 501)
        for row, process in zip(axes, self.processes, strict=True):
            for axis, (name, paths) in zip(row, chosen.items(), strict=True):
                _heat(axis, process, LINE, t[:: len(t) // 100], _width(process))
                axis.plot(t, paths(process, LINE, t, 8), linewidth=0.9)
                axis.set_title(f"{NAMES[process]}: {name}", fontsize=10)
        work.plot("paths", figure)


@dataclasses.dataclass(frozen=True)
class Kernel(Exact):
    """The diffusion kernel q(z_t | x*): five paths from x*, the mean with two standard deviations,
    and its density at some times."""

    x: float = 2.0
    process: Process = VP

    def make(self, work: Work) -> None:
        figure, (axes,) = _axes(1, 2)
        t = np.linspace(START, 1.0, 200)
        x_0 = jnp.full((5, 1), self.x)
        at = jnp.asarray(t, jnp.float32)
        paths = self.process.path(jax.random.key(work.seed), x_0, at)[..., 0]
        mean, std = self.process.marginal(jnp.full((len(t), 1), self.x), at)
        middle, spread = np.asarray(mean[:, 0]), np.asarray(std)
        axes[0].plot(t, paths, color="#888888", linewidth=0.8)
        axes[0].plot(t, middle, color=BLUE, label="mean")
        axes[0].fill_between(
            t, middle - 2 * spread, middle + 2 * spread, color=BLUE, alpha=0.15,
            label="two standard deviations",
        )  # fmt: skip
        axes[0].set(title=f"five paths from x* = {self.x:g}", xlabel="time t", ylabel="z_t")
        line = np.linspace(-4, 4, 400)
        for when in (0.05, 0.2, 0.4, 1.0):
            found = self.process.marginal(jnp.full((1, 1), self.x), jnp.array([when]))
            centre, width = (float(np.ravel(of)[0]) for of in found)
            density = np.exp(-0.5 * ((line - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))
            axes[1].plot(line, density, label=f"t = {when:g}")
        axes[1].set(title="q(z_t | x*)", xlabel="z_t")
        for axis in axes:
            axis.legend(fontsize=9)
        work.plot("kernel", figure)


@dataclasses.dataclass(frozen=True)
class Marginals(Exact):
    """The marginal q(z_t): over time, and its density at some times beside samples of a chain."""

    process: Process = VP

    def make(self, work: Work) -> None:
        figure, (axes,) = _axes(1, 2)
        t = np.linspace(START, 1.0, 100)
        _heat(axes[0], self.process, LINE, t, 3.5)
        axes[0].set_title("q(z_t), each time by its largest value", fontsize=10)
        when, line = np.array([0.02, 0.1, 0.3, 1.0]), np.linspace(-4, 4, 300)
        drawn = forward_paths(self.process, LINE, when, 4000)
        for number, (time, samples) in enumerate(zip(when, drawn, strict=True)):
            node = self.process.node(jnp.float32(time))
            axes[1].plot(
                line, _density(LINE, node, line), color=f"C{number}", label=f"t = {time:g}"
            )
            axes[1].hist(samples, 60, (-4, 4), density=True, color=f"C{number}", alpha=0.2)
        axes[1].set(title="densities, and histograms of 4,000 paths", xlabel="z_t")
        axes[1].legend(fontsize=9)
        work.plot("marginals", figure)


def _nodes_of_step(process: Process, t: float, step: float, count: int) -> tuple[Node, Node]:
    """The nodes of t and of the step before it, (count,) each."""
    first, second = (process.node(jnp.full(count, at)) for at in (t, t - step))
    return first, second


@dataclasses.dataclass(frozen=True)
class Reversed(Exact):
    """q(z_{t-1} | z_t) by Bayes' rule at three z_t, and the Gaussian with its mean and variance: of
    a large step it is no Gaussian, of a small one nearly."""

    process: Process = VP
    t: float = 0.35
    steps: tuple[float, ...] = (0.3, 0.02)
    places: tuple[float, ...] = (-0.8, 0.0, 0.8)

    def make(self, work: Work) -> None:
        figure, axes = _axes(len(self.steps), len(self.places), 4.2, 3.2)
        line = np.linspace(-3.5, 3.5, 1401)
        for row, step in zip(axes, self.steps, strict=True):
            node, before = _nodes_of_step(self.process, self.t, step, len(line))
            x_next = jnp.asarray(line, jnp.float32)[:, None]
            for axis, place in zip(row, self.places, strict=True):
                x = jnp.full_like(x_next, place)
                density = np.exp(log_reverse(LINE, node, x, before, x_next))
                weight = density * (line[1] - line[0])
                mean = float(weight @ line)
                std = float(np.sqrt(weight @ (line - mean) ** 2))
                fitted = np.exp(-0.5 * ((line - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
                axis.plot(line, density, color=BLUE, label="q(z_{t-1} | z_t)")
                axis.plot(line, fitted, color=ORANGE, linestyle="--", label="Gaussian")
                axis.set_title(f"z_t* = {place:g}, step {step:g}", fontsize=10)
                axis.set(
                    xlabel="z_{t-1}", xlim=np.clip((mean - 5 * std, mean + 5 * std), -3.5, 3.5)
                )
        axes[0, 0].legend(fontsize=8)
        work.plot("reversed", figure)


@dataclasses.dataclass(frozen=True)
class ConditionalReversed(Exact):
    """q(z_{t-1} | z_t, x*) at three z_t: the Gaussian in closed form, and beside it the
    product q(z_t | z_{t-1}) q(z_{t-1} | x*) that it is proportional to."""

    process: Process = VP
    x: float = -2.1
    t: float = 0.35
    step: float = 0.1
    places: tuple[float, ...] = (-2.0, -1.0, 0.5)

    def make(self, work: Work) -> None:
        figure, (axes,) = _axes(1, len(self.places), 4.2, 3.6)
        line = np.linspace(-4, 4, 1601)
        node, before = _nodes_of_step(self.process, self.t, self.step, 1)
        weights = posterior_of(node, before)
        r, b = (float(of[0]) for of in transition(node, before))
        alpha, sigma = float(before.alpha[0]), float(before.sigma[0])
        for axis, place in zip(axes, self.places, strict=True):
            mean = float(weights.x_t[0] * place + weights.x_0[0] * self.x)
            std = float(jnp.sqrt(weights.variance[0]))
            closed = np.exp(-0.5 * ((line - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
            product = np.exp(
                -0.5 * (place - r * line) ** 2 / b - 0.5 * ((line - alpha * self.x) / sigma) ** 2
            )
            product /= product.sum() * (line[1] - line[0])
            axis.plot(line, closed, color=BLUE, label="closed form")
            axis.plot(line, product, color=ORANGE, linestyle="--", label="Bayes' rule, numerically")
            prior = np.exp(-0.5 * ((line - alpha * self.x) / sigma) ** 2)
            axis.plot(line, prior / prior.max() * closed.max() / 3, color="#999999",
                      label="q(z_{t-1} | x*), to scale")  # fmt: skip
            axis.set(xlabel="z_{t-1}", xlim=(-4, 2.5))
            axis.set_title(f"z_t* = {place:g}, x* = {self.x:g}", fontsize=10)
        axes[0].legend(fontsize=8)
        work.plot("conditional", figure)


@dataclasses.dataclass(frozen=True)
class Levels(Exact):
    """Densities of the data under three noise levels, ten, and all of them."""

    counts: tuple[int, ...] = (3, 10, 200)

    def make(self, work: Work) -> None:
        figure, (axes,) = _axes(1, len(self.counts), height=3.6)
        process = VESDE(0.1, 4.0)
        for axis, count in zip(axes, self.counts, strict=True):
            t = (np.arange(count) + 0.5) / count
            x = np.linspace(-6, 6, 240)
            columns = [_density(LINE, process.node(jnp.float32(at)), x) for at in t]
            shown = np.stack([column / column.max() for column in columns], 1)
            axis.imshow(
                shown, extent=(0, 1, -6, 6), origin="lower", aspect="auto", cmap="Greys", vmax=1.6,
                interpolation="nearest",
            )  # fmt: skip
            title = f"{count} noise levels" if count < 100 else "every level: a process"
            axis.set(title=title, xlabel="time t", ylabel="x_t")
        work.plot("levels", figure)


@dataclasses.dataclass(frozen=True)
class Points(Exact):
    """An animation of points in the plane, noised or denoised.

    way: of WAYS, by its first word.
    """

    way: str = "forward"
    process: Process = VESDE(0.01, 3.0)

    def make(self, work: Work) -> None:
        data, count = default_mixture(), 400
        t = np.linspace(START, 1.0, 9 if work.small else 41)
        if self.way == "forward":
            x_0 = data.sample(jax.random.key(1), count)
            at = jnp.asarray(t, jnp.float32)
            path = np.asarray(self.process.path(jax.random.key(2), x_0, at))
        else:
            grid = uniform_grid(self.process, 40 * (len(t) - 1), t_end=START)
            made = sampling.sample(
                jax.random.key(3), self.process, data, EULER, grid, (count, 2), denoise="none",
                frames=len(t),
            )  # fmt: skip
            assert made.path is not None
            path, t = (
                made.path,
                np.asarray(grid.t)[np.linspace(0, len(grid.t) - 1, len(t), dtype=int)],
            )
        most = 2.2 * float(self.process.prior_std)
        frames = []
        for x, when in zip(path, t, strict=True):
            figure, ((axis,),) = _axes(1, 1, 5.4, 5.4)
            axis.scatter(*x.T, s=6, color=BLUE)
            axis.set(xlim=(-most, most), ylim=(-most, most), title=f"t = {when:.2f}")
            axis.set_aspect("equal")
            frames.append(pixels(figure))
        work.animation(self.way, frames)


@dataclasses.dataclass(frozen=True)
class Langevin(Exact):
    """Annealed Langevin dynamics: points after the last step at some of the noise levels."""

    levels: int = 10
    steps: int = 20

    def make(self, work: Work) -> None:
        data, process = default_mixture(), SMLDSchedule(self.levels, sigma_min=0.05, sigma_max=2.0)
        solver = PredictorCorrector(NoPredictor(), AnnealedLangevin(0.3, self.steps))
        grid = process.node(jnp.append(process.times()[::-1], 0.0))
        made = sampling.sample(
            jax.random.key(work.seed), process, data, solver, grid, (300, 2), denoise="none",
            frames=self.levels + 1,
        )  # fmt: skip
        assert made.path is not None
        shown = [0, 1, self.levels // 3 + 1, 2 * self.levels // 3 + 1, self.levels]
        figure, (axes,) = _axes(1, len(shown), 3.0, 3.2)
        for axis, number in zip(axes, shown, strict=True):
            axis.scatter(*made.path[number].T, s=5, color=BLUE)
            sigma = float(grid.sigma[max(number - 1, 0)])
            title = "the prior" if not number else f"sigma = {sigma:.2g}"
            axis.set(title=title, xlim=(-5, 5), ylim=(-5, 5))
            axis.set_aspect("equal")
        work.plot("langevin", figure)


@dataclasses.dataclass(frozen=True)
class WorkedSteps(Exact):
    """Three steps of Euler-Maruyama backwards in time, every number of them, and how far the
    solver's states are from the formula."""

    steps: int = 1000
    shown: int = 3

    def make(self, work: Work) -> None:
        for process in (VP, VE):
            self._table(work, process)

    def _table(self, work: Work, process: Process) -> None:
        t = 1.0 - np.arange(self.shown + 1) / self.steps
        grid = process.node(jnp.asarray(t, jnp.float32))
        start, *draws = jax.random.normal(jax.random.key(work.seed), (self.shown + 1, 1, 1))
        noise = ReplayedNoise(start, jnp.stack(draws)[:, None])
        made = sampling.sample(
            jax.random.key(0), process, LINE, EULER, grid, (1, 1), denoise="none", noise=noise,
            frames=self.shown + 1,
        )  # fmt: skip
        assert made.path is not None
        rows = []
        for k, (x, x_next, z) in enumerate(zip(made.path, made.path[1:], draws, strict=False)):
            node = process.node(jnp.full(1, grid.t[k]))
            score = LINE(jnp.asarray(x), node).score
            drift, g = process.sde(jnp.asarray(x), node.t)
            dt = 1 / self.steps
            want = x - (drift - g**2 * score) * dt + g * np.sqrt(dt) * z
            numbers = (x, drift, g, score, z, x_next)
            cells = [f"{float(np.ravel(v)[0]):.4f}" for v in numbers]
            error = float(np.ravel(abs(x_next - want))[0])
            rows.append([f"{t[k]:.3f}", *cells, f"{error:.0e}"])
        header = ["t", "x_t", "f(x, t)", "g(t)", "score", "z", "x_{t - dt}", "off the formula by"]
        work.table(f"steps_{NAMES[process].lower()}", header, rows)


@dataclasses.dataclass(frozen=True)
class Chain(Exact):
    """The discrete chain beside its limit: alpha^2 of DDPM's betas and of the VP process."""

    steps: int = 1000

    def make(self, work: Work) -> None:
        figure, (axes,) = _axes(1, 2)
        chain = DDPMSchedule(self.steps)
        t = chain.times()
        axes[0].plot(t, chain.betas(), color=BLUE)
        axes[0].set(title=f"beta_t, t = 1 ... {self.steps}", xlabel="t / T")
        axes[1].plot(t, chain.alpha(t) ** 2, color=BLUE, label="prod (1 - beta_s)")
        axes[1].plot(t, VP.alpha(t) ** 2, "--", color=ORANGE, label="VP process")
        axes[1].set(title="alpha_t", xlabel="t / T")
        axes[1].legend()
        work.plot("chain", figure)
