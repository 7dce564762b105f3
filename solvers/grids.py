"""Grids: the noise levels that a run visits, from the prior down.

A grid is a `Node` whose fields have shape (steps + 1,), num_steps steps from `t_start` (default:
t_max of the process) to `t_end` (default: t_min). The ends are exact; kinds of grid differ in what
they space evenly between them.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array

from options.choices import MOST_STEPS, require, require_count, require_positive
from sde_lib import Node, Process
from solvers.published import published_grid

# Noise over signal beyond which spacing in sigma / alpha means nothing; alpha may be 0 at t_start.
RATIO_LIMIT = 1e3


def _ends(
    process: Process, num_steps: int, t_start: float | None, t_end: float | None
) -> tuple[float, float]:
    """The first and last time of a grid."""
    require_count("num_steps", num_steps, 1, MOST_STEPS)
    low, high = process.span(t_end, t_start, "t_end, t_start")
    return high, low


@runtime_checkable
class Grid(Protocol):
    """A way of spacing nodes: a frozen dataclass, called for the nodes of a process."""

    def __call__(
        self,
        process: Process,
        num_steps: int,
        *,
        t_start: float | None = None,
        t_end: float | None = None,
    ) -> Node:
        """num_steps + 1 nodes from t_start (default t_max) to t_end (t_min)."""
        ...


class _InTime:
    """Times t_end + (t_start - t_end) shape(u), u falling from 1 to 0."""

    def shape(self, u: Array) -> Array:
        raise TypeError(f"{type(self).__name__} must define shape(u)")

    def __call__(self, process: Process, num_steps: int, *, t_start=None, t_end=None) -> Node:
        t_start, t_end = _ends(process, num_steps, t_start, t_end)
        u = jnp.linspace(1.0, 0.0, num_steps + 1)
        return process.node(t_end + (t_start - t_end) * self.shape(u))


@dataclasses.dataclass(frozen=True)
class UniformGrid(_InTime):
    """Uniform in time."""

    def shape(self, u):
        return u


@dataclasses.dataclass(frozen=True)
class QuadraticGrid(_InTime):
    """Times that grow as u^2, denser near the data (Song et al. 2021, "DDIM", app. D.2)."""

    def shape(self, u):
        return jnp.square(u)


@dataclasses.dataclass(frozen=True)
class CosineGrid(_InTime):
    """Times that grow as 1 - cos(pi u / 2), denser near the data and even near the prior."""

    def shape(self, u):
        return 1 - jnp.cos(jnp.pi * u / 2)


class _InRatio:
    """Even in forward(sigma / alpha), whose inverse is `backward`."""

    def forward(self, ratio: Array) -> Array:
        raise TypeError(f"{type(self).__name__} must define forward(ratio)")

    def backward(self, value: Array) -> Array:
        raise TypeError(f"{type(self).__name__} must define backward(value)")

    def __call__(self, process: Process, num_steps: int, *, t_start=None, t_end=None) -> Node:
        t_start, t_end = _ends(process, num_steps, t_start, t_end)
        noisy = float(process.sigma(jnp.float32(t_end))) > 0
        require(noisy, "t_end", t_end, "a time at which sigma is not 0, so that it has a logarithm")
        ends = process.node(jnp.array([t_start, t_end], jnp.float32))
        high, low = self.forward(jnp.minimum(ends.sigma / ends.alpha, RATIO_LIMIT))
        ratio = self.backward(jnp.linspace(high, low, num_steps + 1))
        t = process.time_of_log_snr(-2 * jnp.log(ratio))
        return process.node(t.at[0].set(t_start).at[-1].set(t_end))


@dataclasses.dataclass(frozen=True)
class EDMGrid(_InRatio):
    """Even in (sigma / alpha)^(1 / rho) (Karras et al. 2022, eq. 5; its last, clean node apart).

    Attributes:
      rho: the larger, the denser near the data.
    """

    rho: float = 7.0

    def __post_init__(self) -> None:
        require_positive(self, "rho")

    def forward(self, ratio):
        return ratio ** (1 / self.rho)

    def backward(self, value):
        return value**self.rho


@dataclasses.dataclass(frozen=True)
class LogSNRGrid(_InRatio):
    """Even in log(alpha^2 / sigma^2) (Lu et al. 2022, "DPM-Solver", section 3.4)."""

    def forward(self, ratio):
        return jnp.log(ratio)

    def backward(self, value):
        return jnp.exp(value)


@dataclasses.dataclass(frozen=True)
class PublishedGrid:
    """The grid of the published samplers, see `published.published_grid`."""

    def __call__(self, process: Process, num_steps: int, *, t_start=None, t_end=None) -> Node:
        return published_grid(process, num_steps, t_start=t_start, t_end=t_end)


uniform_grid = UniformGrid()
quadratic_grid = QuadraticGrid()
cosine_grid = CosineGrid()
edm_grid = EDMGrid()
log_snr_grid = LogSNRGrid()


def end_clean(grid: Node) -> Node:
    """The grid with one more step, to the clean node: t = 0, alpha = 1, sigma = 0."""
    return Node(*(jnp.append(f, end) for f, end in zip(grid, (0.0, 1.0, 0.0), strict=True)))


GRIDS: dict[str, type[Grid]] = {
    "uniform": UniformGrid,
    "quadratic": QuadraticGrid,
    "cosine": CosineGrid,
    "edm": EDMGrid,
    "log_snr": LogSNRGrid,
    "published": PublishedGrid,
}
