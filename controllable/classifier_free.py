"""Classifier-free guidance (Ho & Salimans 2022, eq. 6): one network, told its class or not.

    guided = unconditional + scale (conditional - unconditional)                        (1)

for x_0 and eps alike, so scale 1 is the conditional model and 0 the unconditional one. (Theirs is
w = scale - 1.) Both are evaluated in one pass over a batch of twice the size.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from controllable.schedules import Schedule, as_schedule
from parameterization import NO_COND, Cond, Prediction, Predictor
from sde_lib import Node, expand_right


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["predict", "scale"],
    meta_fields=["null_label", "name"],
)
@dataclasses.dataclass(frozen=True)
class _Guided:
    predict: Predictor
    scale: Schedule
    null_label: int
    name: str

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        labels = cond[self.name]
        both = {key: jnp.concatenate([value, value]) for key, value in cond.items()}
        both[self.name] = jnp.concatenate([labels, jnp.full_like(labels, self.null_label)])
        nodes = Node(*(jnp.concatenate([field, field]) for field in node))
        found = self.predict(jnp.concatenate([x, x]), nodes, both)
        n, scale = len(x), expand_right(self.scale(node), x)

        def mix(leaf: Array) -> Array:
            return leaf[n:] + scale * (leaf[:n] - leaf[n:])

        return Prediction(mix(found.x_0), mix(found.eps), node)


def classifier_free(
    scale: Schedule | float, null_label: int, name: str = "labels"
) -> Callable[[Predictor], Predictor]:
    """The guidance (1); `cond` of the run holds the labels, (batch,) int32.

    scale: of each noise level, see `schedules`; a number is a constant.
    null_label: the label that a network trained with label dropout knows as none: its number of
      classes. name: of the labels in cond.
    """
    schedule = as_schedule(scale)
    return lambda predict: _Guided(predict, schedule, null_label, name)
