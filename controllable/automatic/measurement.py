"""Calibration measurements for automatic guidance, on held-out data.

On held-out (x_0, y) noised to x_t, at levels s = sigma / alpha, with eps_hat the score network's
unconditional prediction and g = grad log p_T(y | x_t):

    T(s) = argmin_T E[-log p_T(y | x_t)],   p_T = softmax(log p / T)                     (1)

is the temperature that calibrates the classifier (Guo et al. 2017). The score with lambda g added
has the conditional denoising loss E|eps - eps_hat + lambda sigma g|^2, whose least value over data
of all classes is at

    lambda(s) = E<eps_hat - eps, sigma g> / E|sigma g|^2                                  (2)
              = correlation x (norm of what the score lacks / norm of the gradient).

For an exact classifier and score (2) is 1, which is Bayes' rule, since the classes' own scores
minimise that loss (Vincent 2011). A gradient that is 30,000 times too small is given 30,000, one
that is noise is given 0. The zone is where (2) is positive by more than twice its standard error.
What lambda leaves to be made up for is found by samples, see `gain`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from controllable.automatic.guidance import ScaleTable
from controllable.classifier_guidance import class_gradient
from metrics.calibration import Classifier, fit_temperature, with_temperature
from parameterization import Predictor
from sde_lib import Node, Process, expand_right
from tasks.conditions import LABELS, Condition, unconditional

Row = tuple[float, ...]
# Gives the row of a part of a measurement by its name, made now or kept from before.
Part = Callable[[str, Callable[[], Row]], Row]
VERSION = 2  # of what is measured: another, and what was kept is not used
SIGNIFICANT = 2.0  # standard errors by which (2) is positive in the zone


def made(name: str, make: Callable[[], Row]) -> Row:
    """A `Part` that keeps nothing."""
    return make()


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was found at each level, (levels,), for plots and reports.

    levels: s. accuracy, nll: of the classifier, nll in nats and calibrated by `temperatures`.
    surprise: the median in place of the mean. recognised: E[p_T(y | x_t)], with its standard error.
    scales, errors: (2) and its standard error. norm_ratio: root mean square of eps_hat over that of
    sigma g. losses: E|eps - eps_hat|^2, a dimension, with its standard error. explained: the
    fraction of it that guidance by (2) takes away.
    pilots: rows (G, by how much recognition is missed, by how much likelihood) as they were tried,
    (tries, 3), see `gain`.
    zone: whether guided.
    """

    levels: np.ndarray
    accuracy: np.ndarray
    nll: np.ndarray
    surprise: np.ndarray
    recognised: np.ndarray
    recognised_errors: np.ndarray
    temperatures: np.ndarray
    scales: np.ndarray
    errors: np.ndarray
    norm_ratio: np.ndarray
    losses: np.ndarray
    loss_errors: np.ndarray
    explained: np.ndarray
    pilots: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 3)))

    @property
    def gain(self) -> float:
        """G of the best pilot; 1 where none was tried."""
        return float(self.pilots[best_pilot(self.pilots), 0]) if len(self.pilots) else 1.0

    @property
    def zone(self) -> np.ndarray:
        return self.scales > SIGNIFICANT * self.errors

    def table(self, gain: float | None = None) -> ScaleTable:
        """What guidance follows, by default with the gain that was found."""
        scales = np.where(self.zone, self.scales, 0.0)
        return ScaleTable(
            jnp.float32(self.gain if gain is None else gain),
            *(
                jnp.asarray(values, jnp.float32)
                for values in (np.log(self.levels), scales, self.temperatures, self.surprise)
            ),
        )


def best_pilot(pilots: np.ndarray) -> int:
    """The row of least G, of those that miss likelihood by least, of those that do recognition."""
    missed = np.maximum(pilots[:, 1:], 0.0)
    return int(np.lexsort((pilots[:, 0], missed[:, 1], missed[:, 0]))[0])


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["predict", "classifier"],
    meta_fields=["process", "conditions"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class GuidedModel:
    """A score network with the classifier that is to guide it, a pytree.

    Attributes:
      process: of both.
      predict: the score network, a pytree.
      classifier: of noisy states.
      conditions: of the score network, which is given the null of its labels, if it has any.
    """

    process: Process
    predict: Predictor
    classifier: Classifier
    conditions: tuple[Condition, ...] = ()

    def eps_hat(self, x: Array, node: Node, labels: Array) -> Array:
        """The unconditional prediction of the noise, like x."""
        return self.predict(x, node, unconditional({LABELS: labels}, self.conditions)).eps


def levels_at(
    s: Float[np.ndarray, " levels"], model: GuidedModel, batch_size: int
) -> list["Level"]:
    """The measurements at these s = sigma / alpha."""
    log_snr = jnp.asarray(-2 * np.log(s), jnp.float32)
    t = np.asarray(model.process.time_of_log_snr(log_snr))
    return [Level(model, float(x), batch_size) for x in t]


def measure_levels(
    key: Key[Array, ""],
    at: Sequence["Level"],
    s: Float[np.ndarray, " levels"],
    x_0: Float[Array, "n *shape"],
    labels: Int[np.ndarray, " n"],
    progress: Callable[[int], None] = lambda done: None,
    part: Part = made,
) -> Measured:
    """The measurements at each level, `at` those of s; progress is called with the count."""
    rows = []
    for k, level in enumerate(at):
        row = functools.partial(level.row, jax.random.fold_in(key, k), x_0, labels)
        rows.append(part(f"level {k}", row))
        progress(k + 1)
    return Measured(s, *(np.array(column) for column in zip(*rows, strict=True)))


@dataclasses.dataclass(frozen=True, eq=False)
class Level:
    """The measurement at one level, that of time t."""

    model: GuidedModel
    t: float
    batch_size: int

    def row(self, key: Array, x_0: Array, labels: np.ndarray) -> Row:
        """The fields of `Measured` but the level, in their order."""
        noise = jax.random.normal(key, x_0.shape)
        log_probs = self.log_probs(x_0, noise, labels)
        temperature = fit_temperature(log_probs, labels)
        picked = picked_log_probs(log_probs, labels, temperature)
        inner, square, lacking, predicted = self._each(
            lambda x, eps, y: _products(self.model, self.t, temperature, x, eps, y),
            x_0,
            noise,
            labels,
        )
        n, power = len(labels), max(float(square.mean()), 1e-30)
        scale = float(inner.mean()) / power
        # The standard error of a ratio of means, by its influence on each example.
        error = float(np.std(inner - scale * square, ddof=1)) / math.sqrt(n) / power
        return (
            float(np.mean(log_probs.argmax(1) == labels)),
            float(-picked.mean()),
            float(max(np.median(-picked), 1e-3)),
            *mean_and_error(np.exp(picked)),
            temperature,
            scale,
            error,
            math.sqrt(float(predicted.mean()) / power),
            *mean_and_error(lacking / math.prod(x_0.shape[1:])),
            scale**2 * power / float(lacking.mean()),
        )

    def log_probs(self, x_0: Array, noise: Array, labels: np.ndarray) -> np.ndarray:
        """log p(y | x_t) of every class, (n, classes)."""
        return self._each(
            lambda x, eps, y: _log_probs(self.model, self.t, x, eps), x_0, noise, labels
        )[0]

    def losses(self, x_0: Array, noise: Array, labels: np.ndarray) -> np.ndarray:
        """|eps - eps_hat|^2 a dimension of each example, (n,)."""
        return self._each(
            lambda x, eps, y: _losses(self.model, self.t, x, eps, y), x_0, noise, labels
        )[0]

    def _each(self, function, x_0, noise, labels) -> list[np.ndarray]:
        """The outputs of a function of batches, for all examples."""
        found = []
        for start in range(0, len(x_0), self.batch_size):
            rows = slice(start, start + self.batch_size)
            out = function(x_0[rows], noise[rows], jnp.asarray(labels[rows]))
            found.append([np.asarray(value, np.float64) for value in out])
        return [np.concatenate(column) for column in zip(*found, strict=True)]


def lower(model: GuidedModel, shape: tuple[int, ...]) -> jax.stages.Lowered:
    """The program that measures a batch (n, *shape) and needs the most memory."""
    x, number = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    labels = jax.ShapeDtypeStruct(shape[:1], jnp.int32)
    return _products.lower(model, number, number, x, x, labels)


def picked_log_probs(log_probs: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """log p_T of the labels, (n,)."""
    calibrated = with_temperature(log_probs, temperature)
    return calibrated[np.arange(len(labels)), labels]


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """The mean and its standard error."""
    return float(values.mean()), float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _noised(process: Process, t: float, x_0: Array, eps: Array) -> tuple[Array, Node]:
    node = process.node(jnp.full(len(x_0), t, jnp.float32))
    alpha, sigma = expand_right(node.alpha, x_0), expand_right(node.sigma, x_0)
    return alpha * x_0 + sigma * eps, node


@jax.jit
def _log_probs(model: GuidedModel, t, x_0, eps) -> tuple[Array]:
    return (model.classifier.log_probs(*_noised(model.process, t, x_0, eps)),)


@jax.jit
def _losses(model: GuidedModel, t, x_0, eps, labels) -> tuple[Array]:
    x, node = _noised(model.process, t, x_0, eps)
    lack = model.eps_hat(x, node, labels) - eps
    return (jnp.mean(lack.reshape(len(x), -1) ** 2, axis=1),)


@jax.jit
def _products(model: GuidedModel, t, temperature, x_0, eps, labels) -> tuple[Array, ...]:
    """<eps_hat - eps, sigma g>, |sigma g|^2, |eps_hat - eps|^2 and |eps_hat|^2 of each example."""
    x, node = _noised(model.process, t, x_0, eps)
    eps_hat = model.eps_hat(x, node, labels)
    g, _ = class_gradient(model.classifier, x, node, labels, temperature)
    pull = expand_right(node.sigma, g) * g
    lack = eps_hat - eps
    return tuple(
        jnp.sum((a * b).reshape(len(x), -1), axis=1)
        for a, b in ((lack, pull), (pull, pull), (lack, lack), (eps_hat, eps_hat))
    )
