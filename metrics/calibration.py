"""Accuracy and calibration of a classifier of noisy states, by noise level.

A temperature T divides the logits. The one that fits held-out data best (Guo et al. 2017, section
4.2),

    T = argmin mean -log p_T(y | x_t),   p_T = softmax(logits / T) = softmax(log p / T)     (1)

is 1 for calibrated probabilities, above 1 for over-confident ones. In b = 1 / T the mean is convex,
so its derivative, which rises with b, has one zero at most:

    mean of E[z | p_T] - z_y,   z = log p                                                  (2)

The expected calibration error (ibid., eq. 3) is the mean of |accuracy - confidence| over 15 bins of
confidence, the probability of the most likely class, each weighted by its fraction of the data.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from options.choices import MOST_STEPS, require_count
from sde_lib import Node, Process, expand_right

BINS = 15
TEMPERATURES = (1e-2, 1e2)  # where the zero of (2) is looked for
LOG_SNR_LIMIT = 14.0  # beyond, float32 cannot tell x_t from data or from noise


@runtime_checkable
class Classifier(Protocol):
    """A pytree; `log_probs(x, node)` is log p(y | x_t) of every class, (batch, classes)."""

    def log_probs(self, x: Array, node: Node) -> Array: ...


class Calibration(NamedTuple):
    """What was found at each of L noise levels, in the order of rising noise; n examples at each.

    Attributes:
      log_snr: log(alpha^2 / sigma^2) at the middle of each level, (L,).
      accuracy: fraction of examples whose class is the most likely one, (L,).
      log_likelihood: mean log p(y | x_t), in nats, (L,).
      temperature: (1), (L,); at an end of TEMPERATURES where (2) has no zero between them.
      calibrated: mean log p_T(y | x_t), (L,).
      calibration_error, calibrated_error: the expected one, of p and of p_T, (L,).
      confusion: fractions of each true class (rows) that are taken for each class, (L, K, K); rows
        of classes without examples are 0.
    """

    log_snr: Float[np.ndarray, "L"]
    accuracy: Float[np.ndarray, "L"]
    log_likelihood: Float[np.ndarray, "L"]
    temperature: Float[np.ndarray, "L"]
    calibrated: Float[np.ndarray, "L"]
    calibration_error: Float[np.ndarray, "L"]
    calibrated_error: Float[np.ndarray, "L"]
    confusion: Float[np.ndarray, "L k k"]

    @property
    def level(self) -> Float[np.ndarray, "L"]:
        """sigma / alpha of each level."""
        return np.exp(-self.log_snr / 2)


def level_edges(process: Process, levels: int) -> Float[np.ndarray, "L1"]:
    """Log-SNRs that part the process's range into `levels` levels of one width, falling."""
    require_count("levels", levels, 1, MOST_STEPS)
    ends = process.log_snr(jnp.array([process.t_min, process.t_max], jnp.float32))
    first, last = np.clip(np.asarray(ends, np.float64), -LOG_SNR_LIMIT, LOG_SNR_LIMIT)
    return np.linspace(first, last, levels + 1)


def noisy_log_probs(
    classifier: Classifier,
    process: Process,
    x_0: Float[Array, "b *shape"],
    keys: Key[Array, " b"],
    edges: Float[np.ndarray, "L1"],
) -> Float[Array, "b L k"]:
    """log p(y | x_t) of data noised once to every level.

    Within a level an example's log-SNR is uniform; it and the noise are drawn by the example's key.
    """

    def at(number: Array) -> Array:
        def draw(key: Array) -> tuple[Array, Array]:
            within, noise = jax.random.split(jax.random.fold_in(key, number))
            return jax.random.uniform(within), jax.random.normal(noise, x_0.shape[1:])

        u, eps = jax.vmap(draw)(keys)
        high, low = (jnp.asarray(part, jnp.float32)[number] for part in (edges[:-1], edges[1:]))
        t = process.time_of_log_snr(high + u * (low - high))
        node = process.node(jnp.clip(t, process.t_min, process.t_max))
        x = expand_right(node.alpha, x_0) * x_0 + expand_right(node.sigma, x_0) * eps
        return classifier.log_probs(x, node)

    return jnp.swapaxes(jax.lax.map(at, jnp.arange(len(edges) - 1)), 0, 1)


def measure(
    key: Key[Array, ""],
    classifier: Classifier,
    process: Process,
    x_0: Float[Array | np.ndarray, "n *shape"],
    labels: Int[Array | np.ndarray, "n"],
    *,
    levels: int = 20,
    batch_size: int = 250,
) -> Calibration:
    """The calibration of a classifier on data that it was not trained on.

    Args:
      x_0, labels: the data in the process's range, and its classes.
      levels: see `level_edges`.
    """
    count, edges = len(x_0), level_edges(process, levels)

    @jax.jit
    def compute(classifier: Classifier, x_0: Array, keys: Array) -> Array:
        return noisy_log_probs(classifier, process, x_0, keys, edges)

    found = []
    for start in range(0, count, batch_size):
        # The last batch is filled up with its last example: one program serves all.
        rows = np.minimum(np.arange(start, start + batch_size), count - 1)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(rows))
        found.append(np.asarray(compute(classifier, jnp.asarray(x_0[rows]), keys)))
    return calibrate(edges, np.concatenate(found)[:count], np.asarray(labels))


def calibrate(
    edges: Float[np.ndarray, "L1"],
    log_probs: Float[np.ndarray, "n L k"],
    labels: Int[np.ndarray, "n"],
) -> Calibration:
    """The metrics of each level, from a classifier's log p of the same examples at all of them."""
    rows = []
    for level in np.swapaxes(log_probs.astype(np.float64), 0, 1):
        temperature = fit_temperature(level, labels)
        fitted = with_temperature(level, temperature)
        rows.append(
            (
                float(np.mean(level.argmax(axis=1) == labels)),
                float(np.mean(_of_label(level, labels))),
                temperature,
                float(np.mean(_of_label(fitted, labels))),
                calibration_error(level, labels),
                calibration_error(fitted, labels),
                confusion(level, labels),
            )
        )
    return Calibration(
        (edges[:-1] + edges[1:]) / 2, *(np.array(c) for c in zip(*rows, strict=True))
    )


def with_temperature(
    log_probs: Float[np.ndarray, "n k"], temperature: float
) -> Float[np.ndarray, "n k"]:
    """log p_T of (1)."""
    z = log_probs / temperature
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def fit_temperature(log_probs: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> float:
    """T of (1), by bisection of (2) in log T; an end of TEMPERATURES where the zero is not within.

    Of one that is always right the best is the lower end, of one that is worse than chance the
    upper.
    """
    z = log_probs.astype(np.float64)
    chosen = _of_label(z, labels)
    low, high = np.log(TEMPERATURES)
    for _ in range(50):
        middle = (low + high) / 2
        p = np.exp(with_temperature(z, float(np.exp(middle))))
        too_sharp = np.mean((p * z).sum(axis=1) - chosen) > 0
        low, high = (middle, high) if too_sharp else (low, middle)
    return float(np.exp((low + high) / 2))


def calibration_error(log_probs: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> float:
    """The expected calibration error."""
    fraction, accuracy, confidence = reliability(log_probs, labels)
    return float(np.sum(fraction * np.abs(accuracy - confidence)))


def reliability(
    log_probs: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "bins"], ...]:
    """Of each bin of confidence: its fraction of the examples, their accuracy, their confidence.

    The latter two are 0 in an empty bin.
    """
    confidence = np.exp(log_probs.max(axis=1))
    correct = log_probs.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    count, hits, total = (
        np.bincount(bins, weights, BINS) for weights in (None, correct, confidence)
    )
    most = np.maximum(count, 1)
    return count / len(labels), hits / most, total / most


def confusion(
    log_probs: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "k k"]:
    """Fractions of each true class (rows) that are taken for each class (columns)."""
    classes = log_probs.shape[1]
    pairs = classes * labels.astype(int) + log_probs.argmax(axis=1)
    counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _of_label(log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return log_probs[np.arange(len(labels)), labels]
