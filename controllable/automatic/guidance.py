"""Classifier guidance with nothing to tune: zone and strength come from a table of measurements.

A classifier of noisy states is of no use where it knows nothing, and its gradient has the wrong
size where it is badly calibrated, too smooth, or points only in part where the class does. What is
right is measured at levels s = sigma / alpha, see `measurement`, and followed here: with
g = grad log p_T(y | x_t), p_T = softmax(log p / T(s)), the score gets

    scale(x_t, s) g,   scale = lambda(s) (1 + (G - 1) max(1, -log p_T(y | x_t) / h(s))).  (1)

T calibrates the classifier; lambda is the fraction of its gradient that the score lacks, 0 where it
is not significant; the gain G makes samples as recognisable and as likely as real data. What it
adds is more for a sample whose class is less likely than that of half of all real data at its
level, h(s) = median of -log p_T, in proportion to how surprising it is, but goes no further than
|scale sigma g| = sqrt(d), the length of the noise itself. For an exact classifier of an exact score
T = lambda = G = 1, which is Bayes' rule.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from controllable.classifier_guidance import class_gradient
from controllable.schedules import level_of
from metrics.calibration import Classifier
from parameterization import MASK, NO_COND, Cond, Prediction, Predictor, zero_padding
from sde_lib import Node, dimensions, expand_right
from tasks.conditions import LABELS, Condition, require_dropout, unconditional


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["gain", "log_levels", "scales", "temperatures", "surprise"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class ScaleTable:
    """What (1) needs, at levels log s ascending, of shape (levels,).

    gain: G, shape (). scales: lambda, 0 outside the zone. temperatures: T. surprise: h, in nats.
    """

    gain: Array
    log_levels: Array
    scales: Array
    temperatures: Array
    surprise: Array

    def at(self, node: Node) -> tuple[Array, Array, Array]:
        """(lambda, T, h) of each noise level, linear in log s.

        Below the levels lambda is 0; above all is as at the last, where data are forgotten.
        """
        log_level = jnp.log(level_of(node))
        scale, temperature, surprise = (
            jnp.interp(log_level, self.log_levels, values)
            for values in (self.scales, self.temperatures, self.surprise)
        )
        return jnp.where(log_level < self.log_levels[0], 0.0, scale), temperature, surprise


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["predict", "classifier", "table"],
    meta_fields=["conditions"],
)
@dataclasses.dataclass(frozen=True)
class _Automatic:
    predict: Predictor
    classifier: Classifier
    table: ScaleTable
    conditions: tuple[Condition, ...]

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        found = self.predict(x, node, unconditional(cond, self.conditions, (LABELS,)))
        scale, temperature, surprise = self.table.at(node)
        g, log_p = class_gradient(self.classifier, x, node, cond[LABELS], temperature)
        g, mask = zero_padding(g, cond), cond.get(MASK)
        more = jnp.maximum(1.0, -log_p / surprise)
        pull = scale * node.sigma * jnp.linalg.norm(g.reshape(len(x), -1), axis=1)
        most = jnp.sqrt(dimensions(x, mask)) / jnp.maximum(pull, 1e-30)
        harder = jnp.maximum(1.0, jnp.minimum(1 + (self.table.gain - 1) * more, most))
        scale = scale * harder
        return found.with_score_added(expand_right(scale, x) * g)


def automatic_guidance(
    classifier: Classifier, table: ScaleTable, conditions: Sequence[Condition] = ()
) -> Callable[[Predictor], Predictor]:
    """Guidance by (1) towards the classes `labels` in the run's cond, int32 (batch,).

    table: of this classifier with this score network, see `gain.measure`.
    conditions: of the score network, which is given the null of its labels, if it has any.

    Raises:
      InvalidValue: a score network whose labels were never dropped in training.
    """
    require_dropout(conditions, (LABELS,))
    return lambda predict: _Automatic(predict, classifier, table, tuple(conditions))
