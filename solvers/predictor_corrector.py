"""Predictor-corrector sampling (Song et al. 2021, section 4.2, algorithms 1, 4 and 5).

A predictor moves x from a node to the next one; a corrector moves it at a node, by Langevin
dynamics, towards that node's marginal. Any predictor goes with any corrector on any process. For
two neighbouring nodes, t noisier than s, r and b are those of x_t | x_s ~ N(r x_s, b I)
(`sde_lib.transition`).

The published samplers differ from these definitions in ways that parity needs; `faithful` turns
them on: the number N of the published discretisation, 0 for none.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from sampling import Draw, StepResult
from sde_lib import (
    Node,
    Process,
    expand_right,
    learned_log_variance,
    posterior_of,
    transition,
)

Predict = Callable[[Array, Node], Any]
VARIANCES = ("small", "large", "learned")


def _published_pair(process: Process, node: Node, node_next: Node, n: int) -> tuple[Node, Node]:
    """The nodes to step between: the grid's, or those of the published chain with n steps."""
    return process.published_nodes(node.t, n) if n else (node, node_next)


def _check_faithful(process: Process, n: int) -> None:
    if n:
        process.published_nodes(jnp.full((1,), process.t_max), n)


def require_finite_diffusion(name: str, process: Process, grid: Node) -> None:
    """ValueError for a grid that begins where the SDE is infinite, as a flow's is at alpha = 0."""
    if not float(grid.alpha[0]) > 0:
        raise ValueError(
            f"t_start: the SDE of {type(process).__name__} is infinite at t = {float(grid.t[0])}, "
            f"where the grid begins; {name} needs an earlier t_start"
        )


@runtime_checkable
class Predictor(Protocol):
    """Moves x from `node` to `node_next` with `stages` evaluations and one draw of noise."""

    @property
    def stages(self) -> int: ...

    def validate(self, process: Process, grid: Node) -> None: ...

    def move(
        self, process: Process, predict: Predict, x: Array, node: Node, node_next: Node, z: Array
    ) -> tuple[Array, Array]: ...


@dataclasses.dataclass(frozen=True)
class EulerMaruyama:
    """x + [f x - g^2 score] dt + g sqrt(|dt|) z (Song et al. 2021, app. E). One stage.

    Weak order 1, strong order 1 (the noise is additive). `probability_flow` takes half the score
    and no noise: Euler's method for Song et al.'s eq. 13. `faithful`: dt = -1 / N whatever the gap.
    """

    probability_flow: bool = False
    faithful: int = 0
    stages = 1

    def validate(self, process: Process, grid: Node) -> None:
        require_finite_diffusion(type(self).__name__, process, grid)

    def move(self, process, predict, x, node, node_next, z):
        dt = jnp.full_like(node.t, -1 / self.faithful) if self.faithful else node_next.t - node.t
        drift, g = process.sde(x, node.t)
        weight = 0.5 if self.probability_flow else 1.0
        score = predict(x, node).score
        x_mean = x + (drift - expand_right(weight * g**2, x) * score) * expand_right(dt, x)
        if self.probability_flow:
            return x_mean, x_mean
        return x_mean + expand_right(g * jnp.sqrt(-dt), x) * z, x_mean


@dataclasses.dataclass(frozen=True)
class ReverseDiffusion:
    """The reverse of the forward discretisation (Song et al. 2021, eq. 46). One stage.

    x - (r - 1) x + b score + sqrt(b) z with (r, b) of `transition`; half the score and no noise for
    the probability flow. Weak order 1. `faithful`: (r, b) of the published chain of N levels.
    """

    probability_flow: bool = False
    faithful: int = 0
    stages = 1

    def validate(self, process: Process, grid: Node) -> None:
        _check_faithful(process, self.faithful)

    def move(self, process, predict, x, node, node_next, z):
        r, b = transition(*_published_pair(process, node, node_next, self.faithful))
        weight = 0.5 if self.probability_flow else 1.0
        score = predict(x, node).score
        x_mean = expand_right(2 - r, x) * x + expand_right(weight * b, x) * score
        if self.probability_flow:
            return x_mean, x_mean
        return x_mean + expand_right(jnp.sqrt(b), x) * z, x_mean


@dataclasses.dataclass(frozen=True)
class Ancestral:
    """Ancestral sampling (Ho et al. 2020, alg. 2; Song et al. 2021, eq. 4 and 47). One stage.

    The mean is that of p(x_s | x_t, x_0) at the predicted x_0. `variance` is "small", that
    posterior's own b sigma_s^2 / sigma_t^2, or "large", b. Exact for one-point data; weak
    order 1. `faithful`: nodes of the published chain, with the published variance, large where
    alpha changes and small where it does not. "learned" takes log variance to be
    v log b + (1 - v) log small with the prediction's `variance` v in [0, 1] (Nichol & Dhariwal
    2021, eq. 15).
    """

    variance: str = "small"
    faithful: int = 0
    stages = 1

    def __post_init__(self) -> None:
        if self.variance not in VARIANCES:
            raise ValueError(f"variance: got {self.variance!r}, expected one of {VARIANCES}")

    def validate(self, process: Process, grid: Node) -> None:
        _check_faithful(process, self.faithful)

    def move(self, process, predict, x, node, node_next, z):
        found = predict(x, node)
        if self.faithful:
            return self._published(process, found, x, node, z)
        posterior = posterior_of(node, node_next)
        x_mean = expand_right(posterior.x_t, x) * x + expand_right(posterior.x_0, x) * found.x_0
        if self.variance == "learned":
            if found.variance is None:
                raise ValueError("variance: got 'learned', but the model predicts none")
            log_variance = learned_log_variance(found.variance, node, node_next)
            z = jnp.where(expand_right(node_next.sigma > 0, z), z, 0.0)
            return x_mean + jnp.exp(log_variance / 2) * z, x_mean
        large = self.variance == "large"
        variance = transition(node, node_next)[1] if large else posterior.variance
        return x_mean + expand_right(jnp.sqrt(variance), x) * z, x_mean

    def _published(self, process: Process, found, x: Array, node: Node, z: Array):
        """The same mean from the score, (x + b score) / r, since the chain's level is not node."""
        t, s = process.published_nodes(node.t, self.faithful)
        r, b = transition(t, s)
        x_mean = (x + expand_right(b, x) * found.score) / expand_right(r, x)
        variance = jnp.where(r == 1, posterior_of(t, s).variance, b)
        return x_mean + expand_right(jnp.sqrt(variance), x) * z, x_mean


@dataclasses.dataclass(frozen=True)
class NoPredictor:
    """Stays where it is, so that the corrector alone samples (annealed Langevin dynamics)."""

    stages = 0

    def validate(self, process: Process, grid: Node) -> None:
        pass

    def move(self, process, predict, x, node, node_next, z):
        return x, x


@runtime_checkable
class Corrector(Protocol):
    """Moves x at `node` by `num_steps` steps of one evaluation and one draw of noise each."""

    @property
    def num_steps(self) -> int: ...

    def validate(self, process: Process, grid: Node) -> None: ...

    def move(
        self,
        process: Process,
        predict: Predict,
        x: Array,
        node: Node,
        node_next: Node,
        draw: Draw,
    ) -> tuple[Array, Array]: ...


def _norm(x: Float[Array, "b *shape"], batch_mean: bool) -> Float[Array, " b"]:
    norm = jnp.sqrt(jnp.sum(x.reshape(x.shape[0], -1) ** 2, axis=-1))
    return jnp.full_like(norm, jnp.mean(norm)) if batch_mean else norm


def _step_scale(process: Process, node: Node, node_next: Node, n: int) -> Array:
    """(alpha_t / alpha_s)^2: 1 - beta_i on DDPM's chain, 1 where alpha is constant."""
    t, s = _published_pair(process, node, node_next, n)
    return (t.alpha / s.alpha) ** 2


def _langevin_step(x: Array, score: Array, step: Array, z: Array) -> tuple[Array, Array]:
    x_mean = x + expand_right(step, x) * score
    return x_mean + expand_right(jnp.sqrt(2 * step), x) * z, x_mean


@dataclasses.dataclass(frozen=True)
class Langevin:
    """Langevin dynamics at a fixed noise level (Song et al. 2021, alg. 4, 5).

        step = 2 a (snr |z| / |score|)^2,    a = (alpha_t / alpha_s)^2

    so that the step's signal-to-noise ratio is `snr` for each sample by itself. That needs many
    dimensions: in two, a score near zero makes a huge step, and AnnealedLangevin serves better.
    `faithful` averages the norms over the batch and takes a from the published chain of N levels.
    """

    snr: float = 0.16
    num_steps: int = 1
    faithful: int = 0

    def validate(self, process: Process, grid: Node) -> None:
        _check_faithful(process, self.faithful)

    def move(self, process, predict, x, node, node_next, draw):
        scale = _step_scale(process, node, node_next, self.faithful)
        x_mean = x
        for k in range(self.num_steps):
            score, z = predict(x, node).score, draw(k)
            batch_mean = bool(self.faithful)
            ratio = _norm(z, batch_mean) / _norm(score, batch_mean)
            step = 2 * scale * (self.snr * ratio) ** 2
            x, x_mean = _langevin_step(x, score, step, z)
        return x, x_mean


@dataclasses.dataclass(frozen=True)
class AnnealedLangevin:
    """Langevin dynamics with step = 2 a (snr sigma)^2 (Song & Ermon 2019, alg. 1)."""

    snr: float = 0.16
    num_steps: int = 1
    faithful: int = 0

    def validate(self, process: Process, grid: Node) -> None:
        _check_faithful(process, self.faithful)

    def move(self, process, predict, x, node, node_next, draw):
        scale = _step_scale(process, node, node_next, self.faithful)
        step = 2 * scale * (self.snr * node.sigma) ** 2
        x_mean = x
        for k in range(self.num_steps):
            x, x_mean = _langevin_step(x, predict(x, node).score, step, draw(k))
        return x, x_mean


@dataclasses.dataclass(frozen=True)
class NoCorrector:
    """Leaves x as it is."""

    num_steps = 0

    def validate(self, process: Process, grid: Node) -> None:
        pass

    def move(self, process, predict, x, node, node_next, draw):
        return x, x


PREDICTORS: dict[str, Any] = {
    "euler_maruyama": EulerMaruyama,
    "reverse_diffusion": ReverseDiffusion,
    "ancestral": Ancestral,
    "none": NoPredictor,
}
CORRECTORS: dict[str, Any] = {
    "langevin": Langevin,
    "annealed_langevin": AnnealedLangevin,
    "none": NoCorrector,
}


@dataclasses.dataclass(frozen=True)
class PredictorCorrector:
    """A step of the corrector at `node`, then of the predictor to `node_next`: the published order.

    (Algorithm 1 prints the predictor first; the code that made the published numbers corrects
    first.) Draws of noise are numbered in that order too.
    """

    predictor: Predictor = ReverseDiffusion()
    corrector: Corrector = Langevin()

    @property
    def stages(self) -> int:
        return self.predictor.stages + self.corrector.num_steps

    def validate(self, process: Process, grid: Node) -> None:
        if self.stages == 0:
            raise ValueError("sampling: a predictor or a corrector is needed, got neither")
        self.predictor.validate(process, grid)
        self.corrector.validate(process, grid)

    def init(self, x: Array) -> None:
        return None

    def step(self, process, predict, x, node, node_next, state, draw) -> StepResult:
        x, x_mean = self.corrector.move(process, predict, x, node, node_next, draw)
        if self.predictor.stages:
            z = draw(self.corrector.num_steps)
            x, x_mean = self.predictor.move(process, predict, x, node, node_next, z)
        return StepResult(x, x_mean, state)
