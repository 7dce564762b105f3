"""What automatic guidance goes by, measured on held-out data and on samples.

On held-out (x_0, y) noised to x_t, at levels s = sigma / alpha, with eps_hat the score network's
prediction without a class and g = grad log p_T(y | x_t):

    T(s) = argmin_T E[-log p_T(y | x_t)],   p_T = softmax(log p / T)                     (1)

is the temperature that calibrates the classifier (Guo et al. 2017). The score with lambda g added
has the conditional denoising loss E|eps - eps_hat + lambda sigma g|^2, whose least value over data
of all classes is at

    lambda(s) = E<eps_hat - eps, sigma g> / E|sigma g|^2                                  (2)
              = correlation x (norm of what the score lacks / norm of the gradient).

For an exact classifier and score (2) is 1, which is Bayes' rule, since the classes' own scores
minimise that loss (Vincent 2011). A gradient that is 30,000 times too small is given 30,000, one
that is noise is given 0. The zone is where (2) is positive by more than twice its standard error.

A gradient that points only in part where the class does is given less than its own length by (2),
as every regressor with errors is, and then its share in the right direction is too short. So a gain
is found by drawing samples: the least G with which guided samples are as recognisable as real data,
that is, noised afresh to the level of the zone at which the classifier is surest of real data,

    E[p_T(y | x_t)] of samples >= E[p_T(y | x_t)] of held-out data                        (3)

within a standard error and one sample, G = 1, 2, 4, ... For an exact classifier 1 will do. Fresh
noise matters: at the states of its own path a sample may have been pushed to what the classifier
likes, which new noise undoes.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import sampling
from calibration import Classifier, fit_temperature, with_temperature
from controllable.automatic_guidance import ScaleTable, automatic_guidance
from controllable.classifier_guidance import class_gradient, without_class
from parameterization import Predictor, as_pytree
from sde_lib import Node, Process, expand_right
from solvers.dpm import DPMSolverPP

VERSION = 1  # of what is measured: another, and what was kept is not used
SIGNIFICANT = 2.0  # standard errors by which (2) is positive in the zone
GAINS = tuple(2.0**k for k in range(8))
PILOT_STEPS = 25


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was found at each level, (levels,), for pictures and reports.

    levels: s. accuracy, nll: of the classifier, nll in nats and calibrated by `temperatures`.
    surprise: the median in place of the mean. recognised: E[p_T(y | x_t)], with its standard error.
    scales, errors: (2) and its standard error. norm_ratio: root mean square of eps_hat over that of
    sigma g. explained: the share of E|eps - eps_hat|^2 that guidance by (2) takes away.
    pilots: rows (G, by how much (3) is missed) as they were tried, (tries, 2).
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
    explained: np.ndarray
    pilots: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))

    @property
    def gain(self) -> float:
        """The least G that was found to do; if none does, the one that misses (3) by least."""
        if not len(self.pilots):
            return 1.0
        missed = np.maximum(self.pilots[:, 1], 0.0)
        return float(self.pilots[missed == missed.min(), 0].min())

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


def measure(
    key: Key[Array, ""],
    process: Process,
    predict: Predictor,
    classifier: Classifier,
    x_0: Float[Array, "n *shape"],
    labels: Int[np.ndarray, " n"],
    *,
    null_label: int | None = None,
    levels: int = 24,
    ends: tuple[float, float] = (0.02, 200.0),
    pilots: int = 128,
    batch_size: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Calibrates a classifier for guidance on held-out data of all classes.

    Args:
      x_0, labels: data that neither network was trained on, and its classes.
      null_label: by which the score network knows no class; None for one without classes.
      levels, ends: how many levels s = sigma / alpha, evenly in log s between these two, or the
        process's own ends where those are nearer.
      pilots: how many samples are drawn for each gain that is tried, at most as many as there are
        data; 0 leaves it at 1.
      progress: called as progress(levels and gains done, of at most so many).
    """
    if len(x_0) != len(labels) or len(x_0) < 2:
        raise ValueError(
            f"x_0: got {len(x_0)} and {len(labels)} labels, expected as many, 2 or more"
        )
    predict = as_pytree(predict)
    times = jnp.array([process.t_min, process.t_max], jnp.float32)
    own = np.exp(-np.asarray(process.log_snr(times), np.float64) / 2)
    low, high = max(ends[0], own[0]), min(ends[1], own[1])
    s = np.geomspace(low, high, levels)
    t = np.asarray(process.time_of_log_snr(jnp.asarray(-2 * np.log(s), jnp.float32)))
    at = [
        _Level(process, predict, classifier, null_label, float(t[k]), batch_size)
        for k in range(levels)
    ]
    total = levels + (len(GAINS) if pilots else 0)
    rows = []
    for k in range(levels):
        rows.append(at[k].row(jax.random.fold_in(key, k), x_0, labels))
        if progress is not None:
            progress(k + 1, total)
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    found = Measured(s, *columns)  # type: ignore[arg-type]
    if not pilots or not found.zone.any():
        return found
    search = _GainSearch(at, found, x_0.shape[1:], labels[:pilots])
    tried: list[tuple[float, float]] = []
    for gain in GAINS:
        tried.append((gain, search.missed(jax.random.fold_in(key, levels), gain)))
        if progress is not None:
            progress(levels + len(tried), total)
        if tried[-1][1] <= 0:
            break
    return dataclasses.replace(found, pilots=np.array(tried))


@dataclasses.dataclass(frozen=True, eq=False)
class _Level:
    """The measurement at one level."""

    process: Process
    predict: Predictor
    classifier: Classifier
    null_label: int | None
    t: float
    batch_size: int

    def row(self, key: Array, x_0: Array, labels: np.ndarray) -> tuple[float, ...]:
        """The fields of `Measured` but the level, in their order."""
        noise = jax.random.normal(key, x_0.shape)
        log_probs = self.log_probs(x_0, noise, labels)
        temperature = fit_temperature(log_probs, labels)
        picked = _picked(log_probs, labels, temperature)
        inner, square, lacking, told = self._each(
            lambda x, eps, y: _products(
                self.predict, self.classifier, self.process, self.null_label,
                self.t, temperature, x, eps, y,
            ),
            x_0, noise, labels,
        )  # fmt: skip
        n, power = len(labels), max(float(square.mean()), 1e-30)
        scale = float(inner.mean()) / power
        # The standard error of a ratio of means, by its influence on each example.
        error = float(np.std(inner - scale * square, ddof=1)) / math.sqrt(n) / power
        return (
            float(np.mean(log_probs.argmax(1) == labels)),
            float(-picked.mean()),
            float(max(np.median(-picked), 1e-3)),
            *_mean_and_error(np.exp(picked)),
            temperature,
            scale,
            error,
            math.sqrt(float(told.mean()) / power),
            scale**2 * power / float(lacking.mean()),
        )

    def log_probs(self, x_0: Array, noise: Array, labels: np.ndarray) -> np.ndarray:
        """log p(y | x_t) of every class, (n, classes)."""
        return self._each(
            lambda x, eps, y: _log_probs(self.classifier, self.process, self.t, x, eps),
            x_0, noise, labels,
        )[0]  # fmt: skip

    def _each(self, function, x_0, noise, labels) -> list[np.ndarray]:
        """The outputs of a function of batches, for all examples."""
        found = []
        for start in range(0, len(x_0), self.batch_size):
            rows = slice(start, start + self.batch_size)
            out = function(x_0[rows], noise[rows], jnp.asarray(labels[rows]))
            found.append([np.asarray(value) for value in out])
        return [np.concatenate(column) for column in zip(*found, strict=True)]


@dataclasses.dataclass(frozen=True, eq=False)
class _GainSearch:
    """Samples with one gain after another. shape, labels: of the pilot samples."""

    at: list[_Level]
    found: Measured
    shape: tuple[int, ...]
    labels: np.ndarray

    def missed(self, key: Array, gain: float) -> float:
        """By how much samples guided with this gain miss (3)."""
        one = self.at[0]
        guidance = automatic_guidance(one.classifier, self.found.table(gain), one.null_label)
        grid = sampling.log_snr_grid(one.process, PILOT_STEPS, t_end=one.t)
        size = min(one.batch_size, len(self.labels))
        parts = []
        for start in range(0, len(self.labels), size):
            # The last batch is filled up, so that one program serves all.
            asked = np.resize(self.labels[start : start + size], size)
            made = sampling.sample(
                key, one.process, guidance(one.predict), DPMSolverPP(), grid, (size, *self.shape),
                cond={"labels": jnp.asarray(asked, jnp.int32)}, first_index=start,
            )  # fmt: skip
            parts.append(made.x)
        x_0 = jnp.concatenate(parts)[: len(self.labels)]
        surest = int(np.argmax(np.where(self.found.zone, self.found.recognised, 0.0)))
        noise = jax.random.normal(jax.random.fold_in(key, surest), x_0.shape)
        log_probs = self.at[surest].log_probs(x_0, noise, self.labels)
        log_p = _picked(log_probs, self.labels, float(self.found.temperatures[surest]))
        mean, error = _mean_and_error(np.exp(log_p))
        error = math.hypot(error, self.found.recognised_errors[surest])
        allowed = error + 1 / len(log_p)
        return float(self.found.recognised[surest] - mean - allowed)


def _picked(log_probs: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """log p_T of the labels, (n,)."""
    calibrated = with_temperature(log_probs.astype(np.float64), temperature)
    return calibrated[np.arange(len(labels)), labels]


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """The mean and its standard error."""
    return float(values.mean()), float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _noised(process: Process, t: float, x_0: Array, eps: Array) -> tuple[Array, Node]:
    node = process.node(jnp.full(len(x_0), t, jnp.float32))
    alpha, sigma = expand_right(node.alpha, x_0), expand_right(node.sigma, x_0)
    return alpha * x_0 + sigma * eps, node


@functools.partial(jax.jit, static_argnames=("process",))
def _log_probs(classifier, process, t, x_0, eps) -> tuple[Array]:
    return (classifier.log_probs(*_noised(process, t, x_0, eps)),)


@functools.partial(jax.jit, static_argnames=("process", "null_label"))
def _products(
    predict, classifier, process, null_label, t, temperature, x_0, eps, labels
) -> tuple[Array, ...]:
    """<eps_hat - eps, sigma g>, |sigma g|^2, |eps_hat - eps|^2 and |eps_hat|^2 of each example."""
    x, node = _noised(process, t, x_0, eps)
    eps_hat = predict(x, node, without_class({"labels": labels}, null_label)).eps
    g, _ = class_gradient(classifier, x, node, labels, temperature)
    pull = expand_right(node.sigma, g) * g
    lack = eps_hat - eps
    return tuple(
        jnp.sum((a * b).reshape(len(x), -1), axis=1)
        for a, b in ((lack, pull), (pull, pull), (lack, lack), (eps_hat, eps_hat))
    )
