"""Classifier guidance (Song et al. 2021, section 5; Dhariwal & Nichol 2021, section 4).

By Bayes' rule the score of a class y is that of the data plus the gradient of a classifier of noisy
states, here with a scale of each noise level:

    score(x_t | y) = score(x_t) + scale(s) grad log p(y | x_t),   s = sigma / alpha       (1)

Scale 1 is Bayes' rule. The hand-tuned strategies of Traore 2025 ("From Noise to Images:
Implementing Score-Based Generative Models using Stochastic Differential Equation", section 5.3) are
schedules of it:

    1. amplified     Constant(500)
    2. linear        Linear(500, 400), falling with the noise
    3. truncated     Interval(Constant(500), low, high), nothing outside the guidance zone, and
                     `s_max_classifier`, at which the noise level given to the classifier is clamped

(The pseudo-code there returns 0 where s <= limit_max or s >= limit_max, which is everywhere; the
lower limit is meant, as its text says and as `Interval` has it.) The zone may be another for each
class, as it is there. `controllable.automatic` finds zone and scale from held-out data.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from controllable.schedules import Schedule, as_schedule
from metrics.calibration import Classifier
from options.choices import require
from options.errors import Words
from parameterization import NO_COND, Cond, Prediction, Predictor, zero_padding
from sde_lib import Node, Process, expand_right
from tasks.conditions import LABELS, Condition, require_dropout, unconditional


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


def clamped_level(process: Process, node: Node, s_max: float) -> tuple[Node, Float[Array, " b"]]:
    """(the node of level min(s, s_max) on the process, what x_t is multiplied by to look like it).

    Only the level is changed, not the noise that is in x_t: x / alpha stays as it is.
    """
    clamped = node.sigma > s_max * node.alpha
    log_snr = jnp.full_like(node.sigma, -2 * jnp.log(s_max))
    lower = process.node(process.time_of_log_snr(log_snr))
    level = Node(*(jnp.where(clamped, a, b) for a, b in zip(lower, node, strict=True)))
    return level, jnp.where(clamped, level.alpha / jnp.where(clamped, node.alpha, 1.0), 1.0)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["predict", "classifier", "scales"],
    meta_fields=["conditions", "process", "s_max_classifier"],
)
@dataclasses.dataclass(frozen=True)
class _Guided:
    predict: Predictor
    classifier: Classifier
    scales: tuple[Schedule, ...]
    conditions: tuple[Condition, ...]
    process: Process | None
    s_max_classifier: float | None

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        found = self.predict(x, node, unconditional(cond, self.conditions, (LABELS,)))
        level, factor = node, jnp.ones_like(node.sigma)
        if self.process is not None and self.s_max_classifier is not None:
            level, factor = clamped_level(self.process, node, self.s_max_classifier)
        wide = expand_right(factor, x)
        g, _ = class_gradient(self.classifier, wide * x, level, cond[LABELS])
        # The gradient in x is that in wide x times wide.
        g = zero_padding(wide * g, cond)
        return found.with_score_added(expand_right(self._scale(x, node, cond[LABELS]), x) * g)

    def _scale(self, x: Array, node: Node, labels: Int[Array, " b"]) -> Float[Array, " b"]:
        """Of each state: the one schedule, or that of its class."""
        if len(self.scales) == 1:
            return self.scales[0](node)
        classes = jax.eval_shape(self.classifier.log_probs, x, node).shape[-1]
        got = Words(f"{len(self.scales)} of them")
        require(len(self.scales) == classes, "scale", got, f"one, or one for each of {classes}")
        each = jnp.stack([scale(node) for scale in self.scales])
        return jnp.take_along_axis(each, labels[None], axis=0)[0]


def classifier_guidance(
    classifier: Classifier,
    scale: Schedule | float | tuple[Schedule, ...] = 1.0,
    conditions: Sequence[Condition] = (),
    *,
    process: Process | None = None,
    s_max_classifier: float | None = None,
) -> Callable[[Predictor], Predictor]:
    """The guidance (1) towards the classes `labels` in the run's cond, int32 (batch,).

    One evaluation of the score network and one of the classifier, with its gradient, each.

    Args:
      scale: a number or a schedule of the noise level, see `schedules`; or a tuple with a schedule
        for each class.
      conditions: of the score network, which is given the null of its own labels, if it has been
        trained with them; its other conditions stay as they are in `cond`.
      process, s_max_classifier: the sigma / alpha at which the noise level given to the classifier
        is clamped, and the process on which that level lies.

    Raises:
      InvalidValue: a negative scale; s_max_classifier without a process or not positive; a score
        network whose labels were never dropped in training; when it is first called,
        schedules that are not as many as the classes.
    """
    require_dropout(conditions, (LABELS,))
    if s_max_classifier is not None:
        require(process is not None, "process", None, "the run's, with s_max_classifier")
        require(s_max_classifier > 0, "s_max_classifier", s_max_classifier, "a positive number")
    given: tuple[Any, ...] = scale if type(scale) is tuple else (scale,)
    scales = tuple(map(as_schedule, given))
    return lambda predict: _Guided(
        predict, classifier, scales, tuple(conditions), process, s_max_classifier
    )
