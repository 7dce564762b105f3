"""Classifier guidance (Song et al. 2021, section 5; Dhariwal & Nichol 2021, section 4).

By Bayes' rule the score of a class y is that of the data plus the gradient of a classifier of noisy
states, here with a scale of each noise level:

    score(x_t | y) = score(x_t) + scale(s) grad log p(y | x_t),   s = sigma / alpha       (1)

Scale 1 is Bayes' rule. The hand-tuned strategies of papers/003, section 5.3, are schedules of it:

    1. amplified     Constant(500)
    2. linear        Linear(500, 400), falling with the noise
    3. truncated     Interval(Constant(500), low, high), nothing outside the guidance zone, and
                     `s_max_classifier`: the classifier is told min(s, s_max_classifier)

(The paper's pseudo-code returns 0 where s <= limit_max or s >= limit_max, which is everywhere; its
lower limit is meant, as its text says and as `Interval` has it.) `automatic_guidance` finds zone
and scale from held-out data.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from controllable.schedules import Schedule, as_schedule
from metrics.calibration import Classifier
from parameterization import NO_COND, Cond, Prediction, Predictor
from sde_lib import Node, Process, expand_right


def class_gradient(
    classifier: Classifier,
    x: Float[Array, "b *shape"],
    node: Node,
    labels: Int[Array, " b"],
    temperature: Float[Array, " b"] | float = 1.0,
) -> tuple[Float[Array, "b *shape"], Float[Array, " b"]]:
    """(grad_x log p(y | x_t), log p(y | x_t)) of each state and its own label.

    temperature: T of softmax(log p / T), which calibrates an over-confident classifier by T > 1
      (Guo et al. 2017).
    """

    def log_prob(x: Array) -> tuple[Array, Array]:
        logits = classifier.log_probs(x, node) / jnp.reshape(jnp.asarray(temperature), (-1, 1))
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]
        return jnp.sum(chosen), chosen

    (_, log_p), g = jax.value_and_grad(log_prob, has_aux=True)(x)
    return g, log_p


def told_level(process: Process, node: Node, s_max: float) -> tuple[Node, Float[Array, " b"]]:
    """(the node of level min(s, s_max) on the process, what x_t is multiplied by to look like it).

    Only the level is changed, not the noise that is in x_t: x / alpha stays as it is.
    """
    clamped = node.sigma > s_max * node.alpha
    log_snr = jnp.full_like(node.sigma, -2 * jnp.log(s_max))
    lower = process.node(process.time_of_log_snr(log_snr))
    told = Node(*(jnp.where(clamped, a, b) for a, b in zip(lower, node, strict=True)))
    return told, jnp.where(clamped, told.alpha / jnp.where(clamped, node.alpha, 1.0), 1.0)


def without_class(cond: Cond, null_label: int | None) -> Cond:
    """Conditioning of the score: labels of no class, or no labels where `null_label` is None."""
    rest = {name: value for name, value in cond.items() if name != "labels"}
    return rest if null_label is None else rest | {
        "labels": jnp.full_like(cond["labels"], null_label)
    }  # fmt: skip


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["predict", "classifier", "scale"],
    meta_fields=["null_label", "process", "s_max_classifier"],
)
@dataclasses.dataclass(frozen=True)
class _Guided:
    predict: Predictor
    classifier: Classifier
    scale: Schedule
    null_label: int | None
    process: Process | None
    s_max_classifier: float | None

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        found = self.predict(x, node, without_class(cond, self.null_label))
        told, factor = node, jnp.ones_like(node.sigma)
        if self.process is not None and self.s_max_classifier is not None:
            told, factor = told_level(self.process, node, self.s_max_classifier)
        wide = expand_right(factor, x)
        g, _ = class_gradient(self.classifier, wide * x, told, cond["labels"])
        # The gradient in x is that in wide x times wide.
        return found.with_score_added(expand_right(self.scale(node), x) * wide * g)


def classifier_guidance(
    classifier: Classifier,
    scale: Schedule | float = 1.0,
    null_label: int | None = None,
    *,
    process: Process | None = None,
    s_max_classifier: float | None = None,
) -> Callable[[Predictor], Predictor]:
    """The guidance (1) towards the classes `labels` in the run's cond, int32 (batch,).

    One evaluation of the score network and one of the classifier, with its gradient, each.

    Args:
      scale: a number or a schedule of the noise level, see `schedules`.
      null_label: the label by which the score network knows no class, if it has been trained with
        classes; None for a network without them, which is then given no labels.
      process, s_max_classifier: the largest sigma / alpha that the classifier is told, and the
        process on which that level lies.

    Raises:
      ValueError: a negative scale, or s_max_classifier without a process or not positive.
    """
    if s_max_classifier is not None:
        if process is None:
            raise ValueError("process: got None, expected the run's, with s_max_classifier")
        if not s_max_classifier > 0:
            raise ValueError(
                f"s_max_classifier: got {s_max_classifier}, expected a positive number"
            )
    schedule = as_schedule(scale)
    return lambda predict: _Guided(
        predict, classifier, schedule, null_label, process, s_max_classifier
    )
