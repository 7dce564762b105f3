"""How strongly to guide at each noise level: a scale (batch,) for a node.

The level is s = sigma / alpha, the noise of x in units of the data.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from options.choices import require
from parameterization import as_pytree
from sde_lib import Node

Schedule = Callable[[Node], Float[Array, " b"]]


def _require_scale(name: str, value: float) -> None:
    require(value >= 0, name, value, "0 or more")


def as_schedule(scale: "Schedule | float") -> Any:
    """A number as a constant schedule, and a plain function as a pytree without leaves."""
    return as_pytree(scale if callable(scale) else Constant(scale))


def level_of(node: Node) -> Float[Array, " b"]:
    """sigma / alpha; inf where alpha is 0."""
    return node.sigma / node.alpha


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same scale everywhere; 1 is Bayes' rule, more is amplified guidance."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        _require_scale("scale", self.scale)

    def __call__(self, node: Node) -> Float[Array, " b"]:
        return jnp.full_like(node.sigma, self.scale)


@dataclasses.dataclass(frozen=True)
class Linear:
    """From `first` at the prior to `last` at the data, linear in time over [0, t_max]."""

    first: float
    last: float
    t_max: float = 1.0

    def __post_init__(self) -> None:
        _require_scale("first", self.first)
        _require_scale("last", self.last)

    def __call__(self, node: Node) -> Float[Array, " b"]:
        return self.last + (self.first - self.last) * (node.t / self.t_max)


@dataclasses.dataclass(frozen=True)
class Interval:
    """`inside` where low < s < high, and `outside` elsewhere (Kynkaanniemi et al. 2024).

    For classifier-free guidance `outside` is 1, the conditional model; for a classifier 0, none.
    """

    inside: Schedule
    low: float = 0.0
    high: float = math.inf
    outside: float = 0.0

    def __post_init__(self) -> None:
        _require_scale("low", self.low)
        _require_scale("outside", self.outside)
        require(self.low < self.high, "low", self.low, f"less than high = {self.high}")

    def __call__(self, node: Node) -> Float[Array, " b"]:
        level = level_of(node)
        within = (level > self.low) & (level < self.high)
        return jnp.where(within, self.inside(node), self.outside)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["log_levels", "scales"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Table:
    """Scales measured at levels, linear in log s between them and constant beyond.

    log_levels: log s, ascending, (n,). scales: (n,).
    """

    log_levels: Array
    scales: Array

    def __call__(self, node: Node) -> Float[Array, " b"]:
        return jnp.interp(jnp.log(level_of(node)), self.log_levels, self.scales)
