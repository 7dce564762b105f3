"""Guidance by p(y | x) of any differentiable function: Bayes' rule, whatever y is.

    score(x_t | y) = score(x_t) + scale(s) grad log p(y | x_t),   s = sigma / alpha         (1)

`by_states` takes a function that knows noisy states, as a classifier or a judge of texts that was
trained on them. `by_estimates` takes one of clean data alone, a captioner, a CLIP, any measure of
what is wanted, and puts the estimate of x_0 in its place (Bansal et al. 2023, "Universal Guidance",
eq. 6):

    grad log p(y | x_t) ~ grad_x log p(y | x_0(x_t))                                        (2)

through the network of the model. Classifier guidance (`classifier_guidance`) is the first, with
what only classes have: a schedule for each, and a limit of the noise level.
"""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from controllable.schedules import Schedule, as_schedule
from parameterization import NO_COND, Cond, Prediction, Predictor, as_pytree, zero_padding
from sde_lib import Node, expand_right
from tasks.conditions import Condition, require_dropout, unconditional

# (x (b, *shape), node, the run's cond) -> log p(y | x), (b,), up to a constant in x.
LogProb = Callable[[Array, Node, Cond], Float[Array, " b"]]


@dataclasses.dataclass(frozen=True)
class _Guided:
    predict: Predictor
    log_prob: LogProb
    scale: Schedule
    conditions: tuple[Condition, ...]
    dropped: tuple[str, ...]

    def own(self, cond: Cond) -> dict[str, Any]:
        """What the model is conditioned on."""
        return unconditional(cond, self.conditions, self.dropped)


class _ByStates(_Guided):
    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        found = self.predict(x, node, self.own(cond))
        g = jax.grad(lambda x: jnp.sum(self.log_prob(x, node, cond)))(x)
        return _added(found, self.scale(node), g, cond)


class _ByEstimates(_Guided):
    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        def value(x: Array) -> tuple[Array, Prediction]:
            found = self.predict(x, node, self.own(cond))
            return jnp.sum(self.log_prob(found.x_0, node, cond)), found

        (_, found), g = jax.value_and_grad(value, has_aux=True)(x)
        return _added(found, self.scale(node), g, cond)


for _kind in (_ByStates, _ByEstimates):
    jax.tree_util.register_dataclass(
        _kind,
        data_fields=["predict", "log_prob", "scale"],
        meta_fields=["conditions", "dropped"],
    )


def _added(found: Prediction, scale: Array, g: Array, cond: Cond) -> Prediction:
    return found.with_score_added(expand_right(scale, g) * zero_padding(g, cond))


def by_states(
    log_prob: LogProb,
    scale: Schedule | float = 1.0,
    conditions: Sequence[Condition] = (),
    dropped: Collection[str] = (),
) -> Callable[[Predictor], Predictor]:
    """The guidance (1).

    Args:
      log_prob: of noisy states; a pytree whose leaves are parameters, or a function without any.
        What it is given as cond is the run's, which may have entries for it alone.
      scale: 1 is Bayes' rule; a number or a schedule of the noise level, see `schedules`.
      conditions: of the model. dropped: the names of those of which the model is given the null.
    """
    return _guidance(_ByStates, log_prob, scale, conditions, dropped)


def by_estimates(
    log_prob: LogProb,
    scale: Schedule | float = 1.0,
    conditions: Sequence[Condition] = (),
    dropped: Collection[str] = (),
) -> Callable[[Predictor], Predictor]:
    """The guidance (2); arguments as of `by_states`, but log_prob is of clean data."""
    return _guidance(_ByEstimates, log_prob, scale, conditions, dropped)


def _guidance(
    kind: Any, log_prob: LogProb, scale: Any, conditions: Sequence[Condition], dropped: Any
) -> Callable[[Predictor], Predictor]:
    require_dropout(conditions, dropped)
    fields = as_pytree(log_prob), as_schedule(scale), tuple(conditions), tuple(dropped)
    return lambda predict: kind(predict, *fields)
