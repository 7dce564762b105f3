"""Classifier guidance with nothing to tune: zone and strength measured on held-out data.

A classifier of noisy states is of no use where it knows nothing, its gradient has the wrong size
where it is badly calibrated or too smooth, and what is right on average does not suffice for a
sample that goes astray. Each is measured at levels s = sigma / alpha, on held-out (x_0, y) noised
to x_t, with eps_hat the score network's prediction without a class.

    T(s) = argmin_T E[-log p_T(y | x_t)],   p_T = softmax(log p / T)                     (1)

is the temperature that calibrates the classifier (Guo et al. 2017); g = grad log p_T(y | x_t). The
score with lambda g added has the conditional denoising loss E|eps - eps_hat + lambda sigma g|^2,
whose least value over data of all classes is at

    lambda(s) = E<eps_hat - eps, sigma g> / E|sigma g|^2                                  (2)
              = correlation x (norm of what the score lacks / norm of the gradient).

For an exact classifier and score (2) is 1, which is Bayes' rule, since the classes' own scores
minimise that loss (Vincent 2011). A gradient that is 30,000 times too small is given 30,000, one
that is noise is given 0. The zone is where (2) is positive by more than twice its standard error.

A sample whose class is less likely than of all but a share `quantile` of real data at its level,
log p_T(y | x_t) < q(s), is pushed harder, in proportion to how surprising it is:

    scale(x_t, s) = lambda(s) max(1, log p_T(y | x_t) / q(s)),                            (3)

but no harder than |scale sigma g| = sqrt(d), the length of the noise itself. Real data call for
that in `quantile` of all cases, so a model that does what it should is left at Bayes' rule.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from calibration import Classifier, fit_temperature, with_temperature
from controllable.classifier_guidance import class_gradient, without_class
from controllable.schedules import level_of
from parameterization import NO_COND, Cond, Prediction, Predictor, as_pytree
from sde_lib import Node, Process, expand_right

SIGNIFICANT = 2.0  # standard errors by which (2) is positive in the zone


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["log_levels", "scales", "temperatures", "quantiles"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class ScaleTable:
    """What (3) needs, at levels log s ascending, all of shape (levels,).

    scales: lambda of (2), 0 outside the zone. temperatures: T of (1). quantiles: q of (3).
    """

    log_levels: Array
    scales: Array
    temperatures: Array
    quantiles: Array

    def at(self, node: Node) -> tuple[Array, Array, Array]:
        """(lambda, T, q) of each noise level, linear in log s; lambda 0 beyond the levels."""
        log_level = jnp.log(level_of(node))
        scale, temperature, quantile = (
            jnp.interp(log_level, self.log_levels, values)
            for values in (self.scales, self.temperatures, self.quantiles)
        )
        within = (log_level >= self.log_levels[0]) & (log_level <= self.log_levels[-1])
        return jnp.where(within, scale, 0.0), temperature, quantile


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was found at each level, (levels,), for pictures and reports.

    levels: s. accuracy, nll: of the classifier, nll in nats and calibrated by `temperatures`.
    scales, errors: (2) and its standard error. norm_ratio: root mean square of eps_hat over that of
    sigma g. explained: the share of E|eps - eps_hat|^2 that guidance by (2) takes away.
    zone: whether guided.
    """

    levels: np.ndarray
    accuracy: np.ndarray
    nll: np.ndarray
    temperatures: np.ndarray
    quantiles: np.ndarray
    scales: np.ndarray
    errors: np.ndarray
    norm_ratio: np.ndarray
    explained: np.ndarray

    @property
    def zone(self) -> np.ndarray:
        return self.scales > SIGNIFICANT * self.errors

    def table(self) -> ScaleTable:
        scales = np.where(self.zone, self.scales, 0.0)
        return ScaleTable(
            *(
                jnp.asarray(values, jnp.float32)
                for values in (np.log(self.levels), scales, self.temperatures, self.quantiles)
            )
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
    ends: tuple[float, float] = (0.02, 50.0),
    quantile: float = 0.05,
    batch_size: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Calibrates a classifier for guidance on held-out data of all classes.

    Args:
      x_0, labels: data that neither network was trained on, and its classes.
      null_label: by which the score network knows no class; None for one without classes.
      levels, ends: how many levels s = sigma / alpha, evenly in log s between these two, or the
        process's own ends where those are nearer.
      quantile: see (3).
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile: got {quantile}, expected a number in (0, 1)")
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
    rows = []
    for k in range(levels):
        level = _Level(process, predict, classifier, null_label, float(t[k]), batch_size)
        rows.append(level.row(jax.random.fold_in(key, k), x_0, labels, quantile))
        if progress is not None:
            progress(k + 1, levels)
    return Measured(s, *(np.array(column) for column in zip(*rows, strict=True)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Level:
    """The measurement at one level."""

    process: Process
    predict: Predictor
    classifier: Classifier
    null_label: int | None
    t: float
    batch_size: int

    def row(self, key: Array, x_0: Array, labels: np.ndarray, quantile: float) -> tuple[float, ...]:
        """The fields of `Measured` but the level, in their order."""
        noise = jax.random.normal(key, x_0.shape)
        log_probs = self._each(
            lambda x, eps, y: _log_probs(self.classifier, self.process, self.t, x, eps),
            x_0, noise, labels,
        )[0]  # fmt: skip
        temperature = fit_temperature(log_probs, labels)
        calibrated = with_temperature(log_probs.astype(np.float64), temperature)
        picked = calibrated[np.arange(len(labels)), labels]
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
            temperature,
            float(min(np.quantile(picked, quantile), -1e-3)),
            scale,
            error,
            math.sqrt(float(told.mean()) / power),
            scale**2 * power / float(lacking.mean()),
        )

    def _each(self, function, x_0, noise, labels) -> list[np.ndarray]:
        """The outputs of a function of batches, for all examples."""
        found = []
        for start in range(0, len(x_0), self.batch_size):
            rows = slice(start, start + self.batch_size)
            out = function(x_0[rows], noise[rows], jnp.asarray(labels[rows]))
            found.append([np.asarray(value) for value in out])
        return [np.concatenate(column) for column in zip(*found, strict=True)]


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


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["predict", "classifier", "table"],
    meta_fields=["null_label"],
)
@dataclasses.dataclass(frozen=True)
class _Automatic:
    predict: Predictor
    classifier: Classifier
    table: ScaleTable
    null_label: int | None

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        found = self.predict(x, node, without_class(cond, self.null_label))
        scale, temperature, quantile = self.table.at(node)
        g, log_p = class_gradient(self.classifier, x, node, cond["labels"], temperature)
        pull = scale * node.sigma * jnp.linalg.norm(g.reshape(len(x), -1), axis=1)
        most = math.sqrt(math.prod(x.shape[1:])) / jnp.maximum(pull, 1e-30)
        harder = jnp.maximum(jnp.minimum(log_p / quantile, most), 1.0)
        return found.with_score_added(expand_right(scale * harder, x) * g)


def automatic_guidance(
    classifier: Classifier, table: ScaleTable, null_label: int | None = None
) -> Callable[[Predictor], Predictor]:
    """Guidance by (3) towards the classes `labels` in the run's cond, int32 (batch,).

    table: of this classifier with this score network, see `measure`.
    null_label: as for `measure`.
    """
    return lambda predict: _Automatic(predict, classifier, table, null_label)
