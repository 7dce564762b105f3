"""Predictions: what a network outputs, turned into the one thing that everything downstream takes.

A network F(x_in, c_noise) may predict the noise, the score, the data or a mixture of them. With

    x_t = alpha x_0 + sigma eps                                                         (1)

any one of them determines the others, so a predictor answers with the pair (x_0, eps):

    output           read as                                        source
    "noise"          eps = F                                        Ho et al. 2020, eq. 12
    "score"          eps = -sigma F                                 Song & Ermon 2019, eq. 2
    "scaled_score"   eps = -F   (score = F / sigma)                 Song & Ermon 2020, technique 3
    "data"           x_0 = F                                        Ho et al. 2020, eq. 8
    "v"              F = alpha eps - sigma x_0                      Salimans & Ho 2022, app. D
    "velocity"       F = eps - x_0, of the straight path            Liu et al. 2023, eq. 1
    "edm"            x_0 = c_skip x / alpha + c_out F               Karras et al. 2022, eq. 7
    "mean"           F = E[x_s | x_t, x_0], s a step before t       Ho et al. 2020, eq. 7

"scaled_score" is the published VE network (`scale_by_sigma`), "noise" the published VP one. A pair
rather than a score is the currency because a score does not determine the velocity where alpha = 0.
Each row is one class of `OUTPUTS` that reads and writes: `Prediction.as_output` says what any
prediction is in any of the rows, so a network trained on one of them serves as any other.
"""

import abc
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from options.choices import MOST_STEPS, choose, require, require_count, require_positive
from options.classes import named
from options.errors import InvalidValue, Words
from options.fields import hidden
from options.precision import FLOAT32, PRECISIONS, Precision
from sde_lib import Node, Process, ScoreFn, expand_right, masked, node_before, posterior_of

Cond = Mapping[str, Any]
NO_COND: Cond = {}
NO_AUX: Mapping[str, Any] = {}

MASK = "mask"  # the entry of cond that says which coordinates of a padded example are real


def zero_padding(x: Float[Array, "b *shape"], cond: Cond) -> Float[Array, "b *shape"]:
    """x with zeros in the padding that the mask of `cond` marks; x itself where there is none.

    The mask is bool or float, has a leading batch axis, broadcasts to x and is 1 where an example
    is real, as (b, length, 1) is for sequences (b, length, channels).
    """
    return masked(x, cond.get(MASK))


class Prediction(NamedTuple):
    """The estimates of x_0 and eps at `node`, both (batch, *shape), and whatever else came along.

    `aux` carries outputs beyond the two, by name: "variance", see `variance`; a pen probability. It
    is empty where there are none.
    """

    x_0: Float[Array, "b *shape"]
    eps: Float[Array, "b *shape"]
    node: Node
    aux: Mapping[str, Any] = NO_AUX

    @property
    def variance(self) -> Float[Array, "b *shape"] | None:
        """Where the log variance of a step lies, 0 small to 1 large, if the network predicts it."""
        return self.aux.get("variance")

    @property
    def score(self) -> Float[Array, "b *shape"]:
        """grad log p_t(x) = -eps / sigma (Song et al. 2021, eq. 29 and Tweedie's formula)."""
        return -self.eps / expand_right(self.node.sigma, self.eps)

    def velocity(self, process: Process) -> Float[Array, "b *shape"]:
        """dx/dt of the probability flow, alpha' x_0 + sigma' eps (Lipman et al. 2023, eq. 15)."""
        alpha_dot = expand_right(process.alpha_dot(self.node.t), self.x_0)
        sigma_dot = expand_right(process.sigma_dot(self.node.t), self.eps)
        return alpha_dot * self.x_0 + sigma_dot * self.eps

    def with_score_added(self, g: Float[Array, "b *shape"]) -> "Prediction":
        """The prediction of the same x under a score larger by g: x_0 + sigma^2 g / alpha and
        eps - sigma g, which keep (1). Unchanged where alpha is 0: there x_t is independent of x_0,
        so no likelihood of x_t has a gradient.
        """
        alpha, sigma = expand_right(self.node.alpha, g), expand_right(self.node.sigma, g)
        depends = alpha > 0
        x_0 = self.x_0 + jnp.where(depends, sigma**2 * g / jnp.where(depends, alpha, 1.0), 0.0)
        return self._replace(x_0=x_0, eps=self.eps - jnp.where(depends, sigma * g, 0.0))

    def masked(self, cond: Cond) -> "Prediction":
        """The prediction with x_0 and eps 0 in the padding, so that states remain 0 there."""
        return self._replace(x_0=zero_padding(self.x_0, cond), eps=zero_padding(self.eps, cond))

    def as_output(self, output: "Output | str") -> Float[Array, "b *shape"]:
        """What a network of this output would have said, (batch, *shape); a row of the table."""
        return named(OUTPUTS, output, "output").write(self)


class NetworkOutput(NamedTuple):
    """What a network returns that predicts more than the one thing, `aux`; others return an array.

    Attributes:
      output: of `OUTPUTS`. aux: see `Prediction`.
    """

    output: Float[Array, "b *shape"]
    aux: Mapping[str, Any]


@runtime_checkable
class Predictor(Protocol):
    """A pytree callable: parameters are its leaves, so it can be an argument of a jitted function.

    `node` has fields of shape (batch,); `cond` is a dict of arrays with a leading batch axis,
    handed to the network as keyword arguments.
    """

    def __call__(
        self, x: Float[Array, "b *shape"], node: Node, cond: Cond = NO_COND
    ) -> Prediction: ...


def from_x_0(x: Array, x_0: Array, node: Node, aux: Mapping[str, Any] = NO_AUX) -> Prediction:
    """The prediction with this x_0; eps by (1), so sigma must not be 0."""
    alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
    return Prediction(x_0, (x - alpha * x_0) / sigma, node, aux)


def from_eps(x: Array, eps: Array, node: Node, aux: Mapping[str, Any] = NO_AUX) -> Prediction:
    """The prediction with this eps; x_0 by (1), so alpha must not be 0."""
    alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
    return Prediction((x - sigma * eps) / alpha, eps, node, aux)


# What the network outputs.


@dataclasses.dataclass(frozen=True)
class Output(abc.ABC):
    """A row of the table: reads F as the pair (x_0, eps), and writes F of a pair.

    `scales_input` says that the row has its own `network_input`, so that nothing else may scale it.
    """

    scales_input: ClassVar[bool] = False

    def on(self, process: Process) -> "Output":
        """The row for a process, where what is predicted is of a step of it."""
        return self

    def network_input(self, x: Float[Array, "b *shape"], node: Node) -> Float[Array, "b *shape"]:
        """What the network gets of the state x."""
        return x

    @abc.abstractmethod
    def read(
        self, output: Float[Array, "b *shape"], x: Float[Array, "b *shape"], node: Node
    ) -> Prediction:
        """The pair that satisfies the row's equation and (1)."""

    @abc.abstractmethod
    def write(self, prediction: Prediction) -> Float[Array, "b *shape"]:
        """The inverse of `read`: what a network of this output says where this is the pair."""


@dataclasses.dataclass(frozen=True)
class Noise(Output):
    """F = eps; x_0 is not finite at alpha = 0."""

    def read(self, output: Array, x: Array, node: Node) -> Prediction:
        return from_eps(x, output, node)

    def write(self, prediction: Prediction) -> Array:
        return prediction.eps


@dataclasses.dataclass(frozen=True)
class Score(Output):
    """F = -eps / sigma; x_0 is not finite at alpha = 0."""

    def read(self, output: Array, x: Array, node: Node) -> Prediction:
        return from_eps(x, -expand_right(node.sigma, x) * output, node)

    def write(self, prediction: Prediction) -> Array:
        return prediction.score


@dataclasses.dataclass(frozen=True)
class ScaledScore(Output):
    """F = -eps; x_0 is not finite at alpha = 0."""

    def read(self, output: Array, x: Array, node: Node) -> Prediction:
        return from_eps(x, -output, node)

    def write(self, prediction: Prediction) -> Array:
        return -prediction.eps


@dataclasses.dataclass(frozen=True)
class Data(Output):
    """F = x_0; eps is not finite at sigma = 0."""

    def read(self, output: Array, x: Array, node: Node) -> Prediction:
        return from_x_0(x, output, node)

    def write(self, prediction: Prediction) -> Array:
        return prediction.x_0


@dataclasses.dataclass(frozen=True)
class V(Output):
    """F = alpha eps - sigma x_0, a second linear equation beside (1), of determinant norm."""

    def read(self, output: Array, x: Array, node: Node) -> Prediction:
        alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
        norm = alpha**2 + sigma**2
        return Prediction(
            (alpha * x - sigma * output) / norm, (sigma * x + alpha * output) / norm, node
        )

    def write(self, prediction: Prediction) -> Array:
        alpha = expand_right(prediction.node.alpha, prediction.eps)
        sigma = expand_right(prediction.node.sigma, prediction.eps)
        return alpha * prediction.eps - sigma * prediction.x_0


@dataclasses.dataclass(frozen=True)
class Velocity(Output):
    """F = eps - x_0; the determinant alpha + sigma is 1 on the straight path."""

    def read(self, output: Array, x: Array, node: Node) -> Prediction:
        alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
        norm = alpha + sigma
        return Prediction((x - sigma * output) / norm, (x + alpha * output) / norm, node)

    def write(self, prediction: Prediction) -> Array:
        return prediction.eps - prediction.x_0


@dataclasses.dataclass(frozen=True)
class EDMOutput(Output):
    """The preconditioning of Karras et al. 2022, eq. 7 and table 1, in s = sigma / alpha and
    y = x / alpha = x_0 + s eps:

        F gets c_in y,   x_0 = c_skip y + c_out F,
        c_in = 1 / (s^2 + s_data^2)^(1/2),   c_skip = s_data^2 c_in^2,   c_out = s s_data c_in

    Attributes:
      sigma_data: standard deviation of the data, s_data.
    """

    sigma_data: float = 0.5
    scales_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive(self, "sigma_data")

    def _scaled(self, x: Array, node: Node) -> tuple[Array, Array, Array]:
        """s, y and 1 / c_in^2."""
        s = expand_right(node.sigma / node.alpha, x)
        return s, x / expand_right(node.alpha, x), s**2 + self.sigma_data**2

    def network_input(self, x: Float[Array, "b *shape"], node: Node) -> Float[Array, "b *shape"]:
        _, y, norm = self._scaled(x, node)
        return y / jnp.sqrt(norm)

    def read(self, output: Array, x: Array, node: Node) -> Prediction:
        s, y, norm = self._scaled(x, node)
        c_skip = self.sigma_data**2 / norm
        c_out = s * self.sigma_data / jnp.sqrt(norm)
        x_0 = c_skip * y + c_out * output
        # eps = (y - x_0) / s in closed form, so that it stays exact as s goes to 0.
        eps = s / norm * y - self.sigma_data / jnp.sqrt(norm) * output
        return Prediction(x_0, eps, node)

    def write(self, prediction: Prediction) -> Array:
        # F = (x_0 - c_skip y) / c_out times alpha / alpha: finite at sigma = 0 and at alpha = 0.
        x_0, eps, node = prediction.x_0, prediction.eps, prediction.node
        signal = expand_right(node.alpha, eps) * self.sigma_data
        sigma = expand_right(node.sigma, eps)
        return (sigma / self.sigma_data * x_0 - signal * eps) / jnp.sqrt(sigma**2 + signal**2)


@dataclasses.dataclass(frozen=True)
class PosteriorMean(Output):
    """F = w_t x_t + w_0 x_0, the mean of the posterior at a step of a chain, mu tilde of Ho et al.
    2020, eq. 7. It is read as x_0 = (F - w_t x) / w_0, by 1 / w_0 less exact than other outputs:
    w_0 is of the order of a step.

    Attributes:
      num_steps: even steps in time from t_max to t_min that the chain has; N - 1 of a discrete
        schedule of N levels. The step that would end before t_min ends at the clean node: F = x_0.
      process: whose chain it is; a task gives it its own.
    """

    num_steps: int = 1000
    process: Process | None = hidden(None)

    def __post_init__(self) -> None:
        require_count("num_steps", self.num_steps, 1, MOST_STEPS)

    def on(self, process: Process) -> "PosteriorMean":
        return dataclasses.replace(self, process=process)

    def _posterior(self, node: Node, x: Array) -> tuple[Array, Array]:
        """w_t and w_0."""
        if self.process is None:
            raise InvalidValue("output", self, "one of a process: PosteriorMean(process=...)")
        posterior = posterior_of(node, node_before(self.process, node.t, self.num_steps))
        return expand_right(posterior.x_t, x), expand_right(posterior.x_0, x)

    def read(self, output: Array, x: Array, node: Node) -> Prediction:
        of_x_t, of_x_0 = self._posterior(node, x)
        return from_x_0(x, (output - of_x_t * x) / of_x_0, node)

    def write(self, prediction: Prediction) -> Array:
        x_0, eps, node = prediction.x_0, prediction.eps, prediction.node
        of_x_t, of_x_0 = self._posterior(node, x_0)
        x = expand_right(node.alpha, x_0) * x_0 + expand_right(node.sigma, eps) * eps
        return of_x_t * x + of_x_0 * x_0


OUTPUTS: dict[str, type[Output]] = {
    "noise": Noise,
    "score": Score,
    "scaled_score": ScaledScore,
    "data": Data,
    "v": V,
    "velocity": Velocity,
    "edm": EDMOutput,
    "mean": PosteriorMean,
}

# How the network is conditioned on the noise level.


@dataclasses.dataclass(frozen=True)
class NoiseConditioning(abc.ABC):
    """c_noise, one number an example from its node, which the network embeds.

    `embedding` is the kind of embedding whose frequencies suit the range of c_noise: "fourier" for
    a few units, "positional" for hundreds, "level" for whole numbers; empty where any will do.
    """

    embedding: ClassVar[str] = ""

    @abc.abstractmethod
    def __call__(self, node: Node) -> Float[Array, "*n"]:
        """c_noise at the node, of the shape of its fields."""

    def check(self, network: Any) -> None:
        """InvalidValue where the network has an `embedding_type` that does not suit c_noise."""
        theirs = getattr(network, "embedding_type", self.embedding)
        if self.embedding and theirs != self.embedding:
            suited = [name for name, cls in C_NOISE.items() if cls.embedding in ("", theirs)]
            but = f"the network's embedding_type is {theirs!r}"
            raise InvalidValue("c_noise", self, f"one of {suited}", but)


@dataclasses.dataclass(frozen=True)
class LogSigma(NoiseConditioning):
    """log sigma, of the published VE networks (Song et al. 2021, app. C.3)."""

    embedding: ClassVar[str] = "fourier"

    def __call__(self, node: Node) -> Float[Array, "*n"]:
        return jnp.log(node.sigma)


@dataclasses.dataclass(frozen=True)
class Time(NoiseConditioning):
    """scale t, of the published VP networks (Ho et al. 2020).

    Attributes:
      scale: by which t is multiplied; the published value is 999.
    """

    scale: float = 999.0
    embedding: ClassVar[str] = "positional"

    def __post_init__(self) -> None:
        require_positive(self, "scale")

    def __call__(self, node: Node) -> Float[Array, "*n"]:
        return self.scale * node.t


@dataclasses.dataclass(frozen=True)
class ReversedTime(Time):
    """scale (1 - t), the labels of discrete SMLD, which count down from the most noise.

    Attributes:
      scale: by which 1 - t is multiplied; the published value is 999.
    """

    def __call__(self, node: Node) -> Float[Array, "*n"]:
        return self.scale * (1 - node.t)


@dataclasses.dataclass(frozen=True)
class Level(NoiseConditioning):
    """(L - 1) (1 - t), the number of the noise level at a time of L even ones, 0 for the most noise
    (Song & Ermon 2019).

    Attributes:
      num_levels: L.
    """

    num_levels: int = 10
    embedding: ClassVar[str] = "level"

    def __post_init__(self) -> None:
        require_count("num_levels", self.num_levels, 2)

    def __call__(self, node: Node) -> Float[Array, "*n"]:
        return (self.num_levels - 1) * (1 - node.t)

    def check(self, network: Any) -> None:
        super().check(network)
        theirs = getattr(network, "num_levels", self.num_levels)
        expected = f"{theirs}, as the network's num_levels"
        require(theirs == self.num_levels, "c_noise.num_levels", self.num_levels, expected)


@dataclasses.dataclass(frozen=True)
class EDMNoise(NoiseConditioning):
    """log(sigma / alpha) / 4 (Karras et al. 2022, table 1).

    Of a few units, and yet their DDPM++ embeds it by positional features, as its NCSN++ by Fourier
    features.
    """

    def __call__(self, node: Node) -> Float[Array, "*n"]:
        return jnp.log(node.sigma / node.alpha) / 4


@dataclasses.dataclass(frozen=True)
class Alpha(NoiseConditioning):
    """alpha, the sqrt(alpha bar) of Chen et al. 2021, "WaveGrad", and Luhman & Luhman 2020."""

    def __call__(self, node: Node) -> Float[Array, "*n"]:
        return node.alpha


C_NOISE: dict[str, type[NoiseConditioning]] = {
    "log_sigma": LogSigma,
    "time": Time,
    "reversed_time": ReversedTime,
    "level": Level,
    "edm": EDMNoise,
    "alpha": Alpha,
}


@dataclasses.dataclass(frozen=True)
class Parameterization:
    """What the network gets and how its output is read. Names stand for the tables' entries with
    their defaults: `Parameterization("v", "time")`.

    Attributes:
      output: what the output F of the network stands for, a row of the table above.
      c_noise: how the network is conditioned on the noise level.
      centre_input: give the network 2 x - 1; for data in [0, 1], as the published VE models do.
      learned_variance: the network has twice the channels, the second half r being the variance
        v = (r + 1) / 2 of ancestral steps (Nichol & Dhariwal 2021, section 3.1).
    """

    output: Output | str = dataclasses.field(default=Noise(), metadata={"choices": OUTPUTS})
    c_noise: NoiseConditioning | str = dataclasses.field(
        default=Time(), metadata={"choices": C_NOISE}
    )
    centre_input: bool = False
    learned_variance: bool = False

    def __post_init__(self) -> None:
        output = named(OUTPUTS, self.output, "output")
        object.__setattr__(self, "output", output)
        object.__setattr__(self, "c_noise", named(C_NOISE, self.c_noise, "c_noise"))
        if self.centre_input and output.scales_input:
            raise InvalidValue("centre_input", True, but=f"{output} scales the input itself")

    def on(self, process: Process) -> "Parameterization":
        """The same of a process, where what the network predicts is of its steps."""
        return dataclasses.replace(self, output=named(OUTPUTS, self.output, "output").on(process))

    def check(self, network: Any) -> None:
        """InvalidValue where the network's embedding of the noise level does not suit c_noise."""
        named(C_NOISE, self.c_noise, "c_noise").check(network)

    def predict(
        self,
        network: Callable[..., Array | NetworkOutput],
        x: Float[Array, "b *shape"],
        node: Node,
        cond: Cond,
    ) -> Prediction:
        """Runs `network(x_in, c_noise, **cond)` and reads its output; 0 in the padding."""
        output = named(OUTPUTS, self.output, "output")
        x_in = output.network_input(x, node)
        x_in = zero_padding(2 * x_in - 1, cond) if self.centre_input else x_in
        c_noise = named(C_NOISE, self.c_noise, "c_noise")(node)
        F, aux = self._split(network(x_in, c_noise, **cond))
        return output.read(F, x, node)._replace(aux=aux).masked(cond)

    def _split(self, found: Array | NetworkOutput) -> tuple[Array, Mapping[str, Any]]:
        """The output proper and what came along: the second half of the channels, if learned."""
        aux = getattr(found, "aux", NO_AUX)
        output: Any = getattr(found, "output", found)
        if not self.learned_variance:
            return output, aux
        output, raw = jnp.split(output, 2, axis=-1)
        return output, {**aux, "variance": (raw + 1) / 2}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["network", "parameterization", "precision"],
)
@dataclasses.dataclass(frozen=True)
class NetworkPredictor:
    """A Flax network as a predictor. `params` are its leaves; the rest is static and hashable.

    InvalidValue where the network's `embedding_type` does not suit the parameterization's c_noise.

    Attributes:
      precision: of the network's products, on every backend and whatever JAX's default is; `at`
        gives another.
    """

    network: Any
    parameterization: Parameterization
    params: Any
    precision: Precision = FLOAT32

    def __post_init__(self) -> None:
        self.parameterization.check(self.network)

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        network = functools.partial(_apply, self.network, self.params)
        with self.precision.context():
            return self.parameterization.predict(network, x, node, cond)

    def at(self, precision: str) -> "NetworkPredictor":
        """The same network computing in a precision of `options.precision.PRECISIONS`."""
        found = choose(PRECISIONS, precision, "precision")
        return dataclasses.replace(self, network=found.of(self.network), precision=found)


@functools.partial(jax.jit, static_argnums=0)
def _apply(
    network: Any, params: Any, x: Array, c_noise: Array, **cond: Any
) -> Array | NetworkOutput:
    """A function of its own to JAX, which traces it once for all the places of a program that call
    it with like arguments."""
    return network.apply({"params": params}, x, c_noise, **cond)


# Predictors of plain functions.

StateFn = Callable[[Array, Array], Array]  # (x (b, *shape), t (b,)) -> an array like x


@dataclasses.dataclass(frozen=True)
class FlowVelocity(Output):
    """F = alpha' x_0 + sigma' eps, dx/dt of the probability flow of a process: with (1), two linear
    equations of determinant alpha' sigma - alpha sigma'."""

    process: Process

    def read(self, output: Array, x: Array, node: Node) -> Prediction:
        slopes = self.process.alpha_dot(node.t), self.process.sigma_dot(node.t)
        fields = (expand_right(field, x) for field in (node.alpha, node.sigma, *slopes))
        alpha, sigma, alpha_dot, sigma_dot = fields
        norm = alpha_dot * sigma - alpha * sigma_dot
        x_0 = (sigma * output - sigma_dot * x) / norm
        return Prediction(x_0, (alpha_dot * x - alpha * output) / norm, node)

    def write(self, prediction: Prediction) -> Array:
        return prediction.velocity(self.process)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=[], meta_fields=["function", "output"]
)
@dataclasses.dataclass(frozen=True)
class FunctionPredictor:
    """A plain function of (x, t), such as an exact one, as a predictor; `output` is what it gives.
    Conditions are not handed to it."""

    function: StateFn
    output: Output

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        return self.output.read(self.function(x, node.t), x, node).masked(cond)


def from_score(score_fn: ScoreFn) -> FunctionPredictor:
    """The predictor of a score function; `score_fn(x, t)` takes t of shape (batch,)."""
    return FunctionPredictor(score_fn, Score())


def from_noise(eps_fn: StateFn) -> FunctionPredictor:
    """The predictor of `eps_fn(x, t)`, E[eps | x_t]; t as of `from_score`."""
    return FunctionPredictor(eps_fn, Noise())


def from_denoiser(x_0_fn: StateFn) -> FunctionPredictor:
    """The predictor of `x_0_fn(x, t)`, E[x_0 | x_t]; t as of `from_score`."""
    return FunctionPredictor(x_0_fn, Data())


def from_velocity(velocity_fn: StateFn, process: Process) -> FunctionPredictor:
    """The predictor of `velocity_fn(x, t)`, dx/dt of the probability flow of `process`, towards its
    prior; t as of `from_score`. Flow matching with data at t = 1 has -velocity_fn(x, 1 - t)."""
    return FunctionPredictor(velocity_fn, FlowVelocity(process))


def as_predictor(predict: Any, field: str = "predict") -> Any:
    """The predictor as a pytree; InvalidValue for what cannot be called as (x, node, cond)."""
    try:
        inspect.signature(predict).bind(None, None, NO_COND)
    except TypeError as error:
        got = Words(f"{getattr(predict, '__name__', type(predict).__name__)!r}, {error}")
        expected = "a predictor (x, node, cond) -> Prediction, which from_score, from_noise, "
        expected += "from_denoiser and from_velocity of parameterization make of a function (x, t)"
        raise InvalidValue(field, got, expected) from None
    return as_pytree(predict)


def as_pytree(function: Any) -> Any:
    """A plain function as a pytree without leaves; pytrees and None as they are."""
    plain = function is not None and jax.tree_util.all_leaves([function])
    return jax.tree_util.Partial(function) if plain else function
