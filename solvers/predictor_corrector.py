"""Predictor-corrector sampling (Song et al. 2021, section 4.2, algorithms 1, 4 and 5).

A predictor moves x from a node to the next one; a corrector moves it at a node, by Langevin
dynamics, towards that node's marginal. Any predictor goes with any corrector on any process. For
two neighbouring nodes, t noisier than s, r and b are those of x_t | x_s ~ N(r x_s, b I)
(`sde_lib.transition`).

The published samplers differ from these definitions in ways that parity needs; `faithful` turns
them on: the number N of levels of the published discretisation, which is the number of steps of the
grid, or 0 for none (`solvers.published`).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from options.choices import MOST_STEPS, choose, require, require_count
from options.classes import ask
from options.errors import InvalidValue, Words
from parameterization import Prediction
from sde_lib import (
    Node,
    Process,
    example_sum,
    expand_right,
    learned_log_variance,
    posterior_of,
    transition,
)
from solvers import published
from solvers.fixed_step import Draw, FixedStep, Predict, StepResult


class Moved(NamedTuple):
    """What a predictor or corrector returns: x, its mean before the last noise, and the `aux` of
    the last prediction."""

    x: Array
    x_mean: Array
    aux: Mapping[str, Any] | None = None


def require_finite_diffusion(name: str, process: Process, grid: Node) -> None:
    """InvalidValue for a grid that begins where the SDE is infinite, as a flow's at alpha = 0."""
    if not float(grid.alpha[0]) > 0:
        raise InvalidValue(
            "t_start",
            but=f"the SDE of {type(process).__name__} is infinite at t = {float(grid.t[0])}, "
            f"where the grid begins; {name} needs an earlier t_start",
        )


@runtime_checkable
class Predictor(Protocol):
    """Moves x from `node` to `node_next` with `stages` evaluations and one draw of noise."""

    @property
    def stages(self) -> int: ...

    def move(
        self, process: Process, predict: Predict, x: Array, node: Node, node_next: Node, z: Array
    ) -> Moved: ...


@dataclasses.dataclass(frozen=True)
class EulerMaruyama:
    """Euler-Maruyama, x + [f x - g^2 score] dt + g sqrt(|dt|) z (Song et al. 2021, app. E). One
    stage.

    Weak order 1, strong order 1 (the noise is additive).

    Attributes:
      probability_flow: half the score and no noise: Euler's method for Song et al.'s eq. 13.
      faithful: N, for dt = -1 / N whatever the gap of the grid.
    """

    probability_flow: bool = False
    faithful: int = 0
    stages = 1

    def validate(self, process: Process, grid: Node) -> None:
        require_finite_diffusion(type(self).__name__, process, grid)
        published.check_length(self.faithful, grid)

    def move(self, process, predict, x, node, node_next, z) -> Moved:
        dt = jnp.full_like(node.t, -1 / self.faithful) if self.faithful else node_next.t - node.t
        drift, g = process.sde(x, node.t)
        weight = 0.5 if self.probability_flow else 1.0
        found = predict(x, node)
        x_mean = x + (drift - expand_right(weight * g**2, x) * found.score) * expand_right(dt, x)
        if self.probability_flow:
            return Moved(x_mean, x_mean, found.aux)
        return Moved(x_mean + expand_right(g * jnp.sqrt(-dt), x) * z, x_mean, found.aux)


@dataclasses.dataclass(frozen=True)
class ReverseDiffusion:
    """The reverse of the forward discretisation (Song et al. 2021, eq. 46). One stage.

    x - (r - 1) x + b score + sqrt(b) z with (r, b) of `transition`. Weak order 1.

    Attributes:
      probability_flow: half the score and no noise.
      faithful: N, for (r, b) of the published chain; on sub-VP those of Euler-Maruyama steps.
    """

    probability_flow: bool = False
    faithful: int = 0
    stages = 1

    def validate(self, process: Process, grid: Node) -> None:
        if self.faithful:
            published.check_length(self.faithful, grid)
            published.chain_of(process, self.faithful)

    def move(self, process, predict, x, node, node_next, z) -> Moved:
        r, b = published.forward_of(process, node, node_next, self.faithful)
        weight = 0.5 if self.probability_flow else 1.0
        found = predict(x, node)
        x_mean = expand_right(2 - r, x) * x + expand_right(weight * b, x) * found.score
        if self.probability_flow:
            return Moved(x_mean, x_mean, found.aux)
        return Moved(x_mean + expand_right(jnp.sqrt(b), x) * z, x_mean, found.aux)


def _small(found: Prediction, node: Node, node_next: Node) -> Array:
    return jnp.sqrt(posterior_of(node, node_next).variance)


def _large(found: Prediction, node: Node, node_next: Node) -> Array:
    return jnp.sqrt(transition(node, node_next)[1])


def _learned(found: Prediction, node: Node, node_next: Node) -> Array:
    if found.variance is None:
        raise InvalidValue("variance", "learned", but="the model predicts none")
    log_variance = learned_log_variance(found.variance, node, node_next)
    # The log variance of a step to the clean node is kept finite; there is no noise on it.
    noisy = expand_right(node_next.sigma > 0, log_variance)
    return jnp.where(noisy, jnp.exp(log_variance / 2), 0.0)


# Standard deviation of an ancestral step's noise, (batch,) or like x.
VARIANCES: dict[str, Callable[[Prediction, Node, Node], Array]] = {
    "small": _small,
    "large": _large,
    "learned": _learned,
}


@dataclasses.dataclass(frozen=True)
class Ancestral:
    """Ancestral sampling (Ho et al. 2020, alg. 2; Song et al. 2021, eq. 4 and 47). One stage.

    The mean is that of p(x_s | x_t, x_0) at the predicted x_0. Exact for one-point data; weak
    order 1.

    Attributes:
      variance: "small", that posterior's own b sigma_s^2 / sigma_t^2; "large", b; or "learned",
        whose logarithm is v log b + (1 - v) log small with the prediction's `variance` v in [0, 1]
        (Nichol & Dhariwal 2021, eq. 15).
      faithful: N, for the levels of the published chain and the published variance, large where
        alpha changes and small where it does not.
    """

    variance: str = "small"
    faithful: int = 0
    stages = 1

    def __post_init__(self) -> None:
        choose(VARIANCES, self.variance, "variance")

    def validate(self, process: Process, grid: Node) -> None:
        published.check_levels(self.faithful, process, grid)

    def move(self, process, predict, x, node, node_next, z) -> Moved:
        found = predict(x, node)
        if self.faithful:
            levels = published.levels_of(process, node, node_next, self.faithful)
            x_mean, std = published.ancestral(found.score, x, *levels)
        else:
            posterior = posterior_of(node, node_next)
            x_mean = expand_right(posterior.x_t, x) * x
            x_mean = x_mean + expand_right(posterior.x_0, x) * found.x_0
            std = VARIANCES[self.variance](found, node, node_next)
        return Moved(x_mean + expand_right(std, x) * z, x_mean, found.aux)


@dataclasses.dataclass(frozen=True)
class NoPredictor:
    """Stays where it is, so that the corrector alone samples (annealed Langevin dynamics)."""

    stages = 0

    def move(self, process, predict, x, node, node_next, z) -> Moved:
        return Moved(x, x)


@runtime_checkable
class Corrector(Protocol):
    """Moves x at `node` by `num_steps` steps of one evaluation and one draw of noise each."""

    @property
    def num_steps(self) -> int: ...

    def move(
        self,
        process: Process,
        predict: Predict,
        x: Array,
        node: Node,
        node_next: Node,
        draw: Draw,
    ) -> Moved: ...


def _norm(x: Float[Array, "b *shape"]) -> Float[Array, " b"]:
    """|x| of each sample; padding adds nothing, since scores and noise are 0 in it."""
    return jnp.sqrt(example_sum(x**2))


def _step_scale(process: Process, node: Node, node_next: Node, n: int) -> Array:
    """(alpha_t / alpha_s)^2: 1 - beta_i on DDPM's chain, 1 where alpha is constant."""
    t, s = published.levels_of(process, node, node_next, n)
    return (t.alpha / s.alpha) ** 2


def _check_steps(snr: float, num_steps: int) -> None:
    """What both Langevin correctors ask of their fields."""
    require(snr > 0, "snr", snr, "a positive number")
    require_count("num_steps", num_steps, 0, MOST_STEPS)


def _langevin_step(x: Array, found: Prediction, step: Array, z: Array) -> Moved:
    x_mean = x + expand_right(step, x) * found.score
    return Moved(x_mean + expand_right(jnp.sqrt(2 * step), x) * z, x_mean, found.aux)


@dataclasses.dataclass(frozen=True)
class Langevin:
    """Langevin dynamics at a fixed noise level (Song et al. 2021, alg. 4, 5).

        step = 2 a (snr |z| / |score|)^2,    a = (alpha_t / alpha_s)^2

    so that the step's signal-to-noise ratio is `snr` for each sample by itself. That needs many
    dimensions: in two, a score near zero makes a huge step, and AnnealedLangevin serves better.

    Attributes:
      snr: signal-to-noise ratio of a step; 0.16 for 32 pixels and 0.075 for 256 in the paper.
      num_steps: steps at each noise level.
      faithful: N, for norms that are means over the batch, and a from the published chain.
    """

    snr: float = 0.16
    num_steps: int = 1
    faithful: int = 0

    def __post_init__(self) -> None:
        _check_steps(self.snr, self.num_steps)

    def validate(self, process: Process, grid: Node) -> None:
        published.check_levels(self.faithful, process, grid)

    def move(self, process, predict, x, node, node_next, draw) -> Moved:
        scale = _step_scale(process, node, node_next, self.faithful)
        moved = Moved(x, x)
        for k in range(self.num_steps):
            found, z = predict(moved.x, node), draw(k)
            norms = _norm(z), _norm(found.score)
            if self.faithful:
                norms = published.batch_mean(norms[0]), published.batch_mean(norms[1])
            step = 2 * scale * (self.snr * (norms[0] / norms[1])) ** 2
            moved = _langevin_step(moved.x, found, step, z)
        return moved


@dataclasses.dataclass(frozen=True)
class AnnealedLangevin:
    """Langevin dynamics with step = 2 a (snr sigma)^2 (Song & Ermon 2019, alg. 1).

    Attributes:
      snr: half the standard deviation of a step's noise, in units of sqrt(a) sigma.
      num_steps: steps at each noise level.
      faithful: N, for a of the published chain.
    """

    snr: float = 0.16
    num_steps: int = 1
    faithful: int = 0

    def __post_init__(self) -> None:
        _check_steps(self.snr, self.num_steps)

    def validate(self, process: Process, grid: Node) -> None:
        published.check_levels(self.faithful, process, grid)

    def move(self, process, predict, x, node, node_next, draw) -> Moved:
        scale = _step_scale(process, node, node_next, self.faithful)
        step = 2 * scale * (self.snr * node.sigma) ** 2
        moved = Moved(x, x)
        for k in range(self.num_steps):
            moved = _langevin_step(moved.x, predict(moved.x, node), step, draw(k))
        return moved


@dataclasses.dataclass(frozen=True)
class NoCorrector:
    """Leaves x as it is."""

    num_steps = 0

    def move(self, process, predict, x, node, node_next, draw) -> Moved:
        return Moved(x, x)


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
class PredictorCorrector(FixedStep):
    """A step of a corrector at `node`, then of a predictor to `node_next`: the published order.

    (Algorithm 1 prints the predictor first; the code that made the published numbers corrects
    first.) Draws of noise are numbered in that order too.

    Attributes:
      predictor, corrector: the two parts; one of them may be "none".
    """

    predictor: Predictor = dataclasses.field(
        default=ReverseDiffusion(), metadata={"choices": PREDICTORS}
    )
    corrector: Corrector = dataclasses.field(default=Langevin(), metadata={"choices": CORRECTORS})

    @property
    def stages(self) -> int:
        return self.predictor.stages + self.corrector.num_steps

    def validate(self, process: Process, grid: Node) -> None:
        neither = Words("neither a predictor nor a corrector")
        require(self.stages > 0, "predictor", neither, "at least one of them")
        ask(self.predictor, "validate", process, grid)
        ask(self.corrector, "validate", process, grid)

    def step(self, process, predict, x, node, node_next, state, draw) -> StepResult:
        moved = self.corrector.move(process, predict, x, node, node_next, draw)
        if self.predictor.stages:
            z = draw(self.corrector.num_steps)
            moved = self.predictor.move(process, predict, moved.x, node, node_next, z)
        return StepResult(moved.x, moved.x_mean, state, aux=moved.aux)
