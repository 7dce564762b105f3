"""Classifier-free guidance (Ho & Salimans 2022, eq. 6): one network, with and without conditions.

With D_0 the prediction that lacks all K named conditions and D_k the one that has the first k,

    guided = D_0 + sum_k scale_k (D_k - D_{k-1})                                        (1)

for x_0 and eps alike. For one condition, scale 1 is the conditional model and 0 the unconditional
one. (Theirs is w = scale - 1.) With several, each has a strength of its own, and their order
matters: D_k - D_{k-1} is what the k-th adds to those before it (Brooks et al. 2023,
"InstructPix2Pix", eq. 3). All K + 1 are evaluated in one pass over a batch of K + 1 times the size,
but for those that cancel: D_k where scale_k and scale_{k+1} are one number, and D_0 where scale_1
is 1.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from controllable.schedules import Constant, Schedule, as_schedule
from options.choices import did_you_mean, require
from options.errors import InvalidValue, Words
from parameterization import NO_COND, Cond, Prediction, Predictor
from sde_lib import Node, expand_right
from tasks.conditions import Condition, require_dropout, unconditional

Names = tuple[str, ...]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["predict", "scales"],
    meta_fields=["groups", "conditions"],
)
@dataclasses.dataclass(frozen=True)
class _Guided:
    predict: Predictor
    scales: tuple[Schedule, ...]
    groups: tuple[Names, ...]
    conditions: tuple[Condition, ...]

    def __call__(self, x: Array, node: Node, cond: Cond = NO_COND) -> Prediction:
        for name in sum(self.groups, start=()):
            require(name in cond, "cond", Words(f"no {name!r}"), "a value, since it is guided by")
        count = len(self.groups) + 1
        conds = [
            unconditional(cond, self.conditions, sum(self.groups[k:], start=()))
            for k in range(count)
        ]
        every = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *conds)
        nodes = Node(*(jnp.concatenate([field] * count) for field in node))
        found = self.predict(jnp.concatenate([x] * count), nodes, every)

        def mix(leaf: Array) -> Array:
            parts = jnp.split(leaf, count)
            guided = parts[0]
            for scale, without, given in zip(self.scales, parts, parts[1:], strict=False):
                guided = guided + expand_right(scale(node), x) * (given - without)
            return guided

        aux = jax.tree.map(lambda leaf: leaf[-len(x) :], found.aux)
        return Prediction(mix(found.x_0), mix(found.eps), node, aux)


def classifier_free(
    scales: Schedule | float | Mapping[str | Names, Schedule | float],
    conditions: Sequence[Condition],
) -> Callable[[Predictor], Predictor]:
    """The guidance (1); `cond` of the run holds the values of all conditions that it names.

    The others stay as they are in `cond`; entries that no condition has are left out. `aux` is that
    of D_K: a variance or a probability is not extrapolated.

    Args:
      scales: of each noise level, see `schedules`; a number is a constant. One scale is for all
        conditions with a dropout, dropped together; a mapping from the name of a condition, or from
        a tuple of names that are dropped together, gives a scale for each, in the order of (1).
      conditions: of the model.

    Raises:
      InvalidValue: a name that no condition has or that stands twice; a condition that was never
        dropped in training; no condition at all; a negative scale.
    """
    conditions = tuple(conditions)
    groups = _needed(_by_names(scales, conditions))
    if not groups:
        return _unguided
    return functools.partial(
        _Guided,
        scales=tuple(map(as_schedule, groups.values())),
        groups=tuple(groups),
        conditions=conditions,
    )


def _unguided(predict: Predictor) -> Predictor:
    return predict


def _needed(by_names: Mapping[Names, Any]) -> dict[Names, Schedule]:
    """The sum (1) without the predictions that cancel."""
    groups: list[tuple[Names, Schedule]] = []
    for names, scale in by_names.items():
        schedule = scale if callable(scale) else Constant(scale)
        if groups and isinstance(schedule, Constant) and schedule == groups[-1][1]:
            names += groups.pop()[0]
        groups.append((names, schedule))
    return dict(groups[1:] if groups[0][1] == Constant(1.0) else groups)


def _by_names(scales: Any, conditions: tuple[Condition, ...]) -> dict[Names, Any]:
    """The scale of each group of conditions."""
    known = [condition.name for condition in conditions]
    if not isinstance(scales, Mapping):
        dropped = tuple(c.name for c in conditions if c.dropout > 0)
        expected = "one with a positive dropout in training, to have a prediction without it"
        require(dropped, "conditions", known, expected)
        return {dropped: scales}
    groups = {(key,) if isinstance(key, str) else tuple(key): s for key, s in scales.items()}
    names = sum(groups, start=())
    require(names, "scales", dict(scales), "the name of a condition or more")
    require(len(set(names)) == len(names), "scales", list(names), "each name once")
    for name in names:
        if name not in known:
            expected = f"conditions of the model, {known}{did_you_mean(name, known)}"
            raise InvalidValue("scales", name, expected)
    require_dropout(conditions, names)
    return groups
