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

"scaled_score" is the published VE network (`scale_by_sigma`), "noise" the published VP one. A pair
rather than a score is the currency because a score does not determine the velocity where alpha = 0.
The table goes both ways: `Prediction.as_output` says what any prediction is in any of its rows, so
a network trained on one of them serves as any other.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_lib import Node, Process, ScoreFn, expand_right

Cond = Mapping[str, Any]
NO_COND: Cond = {}
MASK = "mask"  # the entry of cond that says which coordinates of a padded example are real


class Prediction(NamedTuple):
    """The estimates of x_0 and eps at `node`, both (batch, *shape), and whatever else came along.

    `aux` carries outputs beyond the two, by name: "variance", see `variance`; a pen probability.
    """

    x_0: Float[Array, "b *shape"]
    eps: Float[Array, "b *shape"]
    node: Node
    aux: Any = None

    @property
    def variance(self) -> Float[Array, "b *shape"] | None:
        """Where the log variance of a step lies, 0 small to 1 large, if the network says so."""
        return self.aux["variance"] if self.aux else None

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
        eps - sigma g, which keep (1). Unchanged where alpha is 0: there x_t tells nothing of x_0,
        so no likelihood of x_t has a gradient.
        """
        alpha, sigma = expand_right(self.node.alpha, g), expand_right(self.node.sigma, g)
        told = alpha > 0
        x_0 = self.x_0 + jnp.where(told, sigma**2 * g / jnp.where(told, alpha, 1.0), 0.0)
        return self._replace(x_0=x_0, eps=self.eps - jnp.where(told, sigma * g, 0.0))

    def as_output(self, output: str) -> Float[Array, "b *shape"]:
        """What a network of this output would have said, (batch, *shape); a row of the table.

        ValueError for "edm", which depends on the standard deviation of the data too.
        """
        if output not in WRITERS:
            raise ValueError(f"output: got {output!r}, expected one of {list(WRITERS)}")
        return WRITERS[output](self)


@runtime_checkable
class Predictor(Protocol):
    """A pytree callable: parameters are its leaves, so it can be an argument of a jitted function.

    `node` has fields of shape (batch,); `cond` is a dict of arrays with a leading batch axis,
    handed to the network as keyword arguments.
    """

    def __call__(
        self, x: Float[Array, "b *shape"], node: Node, cond: Cond = NO_COND
    ) -> Prediction: ...


def from_x_0(x: Array, x_0: Array, node: Node, aux: Any = None) -> Prediction:
    """The prediction with this x_0; eps by (1), so sigma must not be 0."""
    alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
    return Prediction(x_0, (x - alpha * x_0) / sigma, node, aux)


def from_eps(x: Array, eps: Array, node: Node, aux: Any = None) -> Prediction:
    """The prediction with this eps; x_0 by (1), so alpha must not be 0."""
    alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
    return Prediction((x - sigma * eps) / alpha, eps, node, aux)


def _read_noise(output: Array, x: Array, node: Node) -> Prediction:
    return from_eps(x, output, node)


def _read_score(output: Array, x: Array, node: Node) -> Prediction:
    return from_eps(x, -expand_right(node.sigma, x) * output, node)


def _read_scaled_score(output: Array, x: Array, node: Node) -> Prediction:
    return from_eps(x, -output, node)


def _read_data(output: Array, x: Array, node: Node) -> Prediction:
    return from_x_0(x, output, node)


def _read_v(output: Array, x: Array, node: Node) -> Prediction:
    # (1) and F = alpha eps - sigma x_0 are two linear equations; their determinant is norm.
    alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
    norm = alpha**2 + sigma**2
    return Prediction(
        (alpha * x - sigma * output) / norm, (sigma * x + alpha * output) / norm, node
    )


def _read_velocity(output: Array, x: Array, node: Node) -> Prediction:
    # (1) and F = eps - x_0; the determinant alpha + sigma is 1 on the straight path.
    alpha, sigma = expand_right(node.alpha, x), expand_right(node.sigma, x)
    norm = alpha + sigma
    return Prediction((x - sigma * output) / norm, (x + alpha * output) / norm, node)


def _write_v(prediction: Prediction) -> Array:
    alpha = expand_right(prediction.node.alpha, prediction.eps)
    sigma = expand_right(prediction.node.sigma, prediction.eps)
    return alpha * prediction.eps - sigma * prediction.x_0


READERS: dict[str, Callable[[Array, Array, Node], Prediction]] = {
    "noise": _read_noise,
    "score": _read_score,
    "scaled_score": _read_scaled_score,
    "data": _read_data,
    "v": _read_v,
    "velocity": _read_velocity,
}
WRITERS: dict[str, Callable[[Prediction], Array]] = {
    "noise": lambda prediction: prediction.eps,
    "score": lambda prediction: prediction.score,
    "scaled_score": lambda prediction: -prediction.eps,
    "data": lambda prediction: prediction.x_0,
    "v": _write_v,
    "velocity": lambda prediction: prediction.eps - prediction.x_0,
}

# What the network is told about the noise level, from (node, time_scale).
C_NOISE: dict[str, Callable[[Node, float], Array]] = {
    "log_sigma": lambda node, _: jnp.log(node.sigma),
    "time": lambda node, scale: scale * node.t,
    "reversed_time": lambda node, scale: scale * (1 - node.t),
    "edm": lambda node, _: jnp.log(node.sigma / node.alpha) / 4,
}


@dataclasses.dataclass(frozen=True)
class Parameterization:
    """What the network is given and how its output is read.

    Attributes:
      output: a row of the table above.
      c_noise: "log_sigma" (Fourier embeddings), "time" (time_scale * t, positional embeddings; the
        published value is 999), "reversed_time" (time_scale * (1 - t), the labels of discrete
        SMLD), "edm" (log(sigma / alpha) / 4).
      time_scale: see c_noise.
      centre_input: give the network 2 x - 1; for data in [0, 1], as the published VE models do.
      sigma_data: standard deviation of the data, used by "edm" alone (Karras et al. 2022, tab. 1).
      learned_variance: the network has twice the channels, the second half r being the variance
        v = (r + 1) / 2 of ancestral steps (Nichol & Dhariwal 2021, section 3.1).
    """

    output: str = "noise"
    c_noise: str = "time"
    time_scale: float = 999.0
    centre_input: bool = False
    sigma_data: float = 0.5
    learned_variance: bool = False

    def __post_init__(self) -> None:
        outputs = [*READERS, "edm"]
        if self.output not in outputs:
            raise ValueError(f"output: got {self.output!r}, expected one of {outputs}")
        if self.c_noise not in C_NOISE:
            raise ValueError(f"c_noise: got {self.c_noise!r}, expected one of {list(C_NOISE)}")
        if self.sigma_data <= 0:
            raise ValueError(f"sigma_data: got {self.sigma_data}, expected a positive number")

    def predict(
        self, network: Callable[..., Array], x: Float[Array, "b *shape"], node: Node, cond: Cond
    ) -> Prediction:
        """Runs `network(x_in, c_noise, **cond)` and reads what it says."""
        c_noise = C_NOISE[self.c_noise](node, self.time_scale)
        if self.output == "edm":
            return self._edm(network, x, node, c_noise, cond)
        x_in = 2 * x - 1 if self.centre_input else x
        output, aux = self._split(network(x_in, c_noise, **cond))
        return READERS[self.output](output, x, node)._replace(aux=aux)

    def _split(self, output: Array) -> tuple[Array, Any]:
        """The output proper and what came along: the second half of the channels, if learned."""
        if not self.learned_variance:
            return output, None
        output, raw = jnp.split(output, 2, axis=-1)
        return output, {"variance": (raw + 1) / 2}

    def _edm(
        self, network: Callable[..., Array], x: Array, node: Node, c_noise: Array, cond: Cond
    ) -> Prediction:
        # Karras et al. 2022, eq. 7 and table 1, for y = x / alpha = x_0 + s eps, s = sigma / alpha.
        s = expand_right(node.sigma / node.alpha, x)
        y = x / expand_right(node.alpha, x)
        norm = s**2 + self.sigma_data**2
        c_skip = self.sigma_data**2 / norm
        c_out = s * self.sigma_data / jnp.sqrt(norm)
        output, aux = self._split(network(y / jnp.sqrt(norm), c_noise, **cond))
        x_0 = c_skip * y + c_out * output
        # eps = (y - x_0) / s in closed form, so that it stays exact as s goes to 0.
        eps = s / norm * y - self.sigma_data / jnp.sqrt(norm) * output
        return Prediction(x_0, eps, node, aux)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["network", "parameterization"],
)
@dataclasses.dataclass(frozen=True)
class NetworkPredictor:
    """A Flax network as a predictor. `params` are its leaves; the rest is static and hashable."""

    network: Any
    parameterization: Parameterization
    params: Any

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        network = functools.partial(self.network.apply, {"params": self.params})
        return self.parameterization.predict(network, x, node, cond)


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["score_fn"])
@dataclasses.dataclass(frozen=True)
class ScorePredictor:
    """A plain score function `score_fn(x, t)`, such as an exact one, as a predictor."""

    score_fn: ScoreFn

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        score = self.score_fn(x, node.t)
        return from_eps(x, -expand_right(node.sigma, x) * score, node)


def from_score(score_fn: ScoreFn) -> ScorePredictor:
    """The predictor of a score function; `score_fn(x, t)` takes t of shape (batch,)."""
    return ScorePredictor(score_fn)


def as_pytree(function: Any) -> Any:
    """A plain function as a pytree without leaves; pytrees and None as they are."""
    plain = function is not None and jax.tree_util.all_leaves([function])
    return jax.tree_util.Partial(function) if plain else function
