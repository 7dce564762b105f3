"""Grids: the noise levels that a run visits, from the prior down.

A grid is a `Node` whose fields have shape (steps + 1,), num_steps steps from `t_start` (default:
t_max of the process) to `t_end` (default: t_min). The ends are exact; the functions differ in what
they space evenly between them.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from options.choices import require
from sde_lib import Node, Process
from solvers.published import published_grid

# Noise over signal beyond which spacing in sigma / alpha means nothing; alpha may be 0 at t_start.
RATIO_LIMIT = 1e3


def _ends(
    process: Process, num_steps: int, t_start: float | None, t_end: float | None
) -> tuple[float, float]:
    """The first and last time of a grid."""
    require(num_steps >= 1, "num_steps", num_steps, "at least 1")
    low, high = process.span(t_end, t_start, "t_end, t_start")
    return high, low


def _power_grid(
    process: Process, num_steps: int, shape: Callable[[Array], Array], t_start, t_end
) -> Node:
    """Times t_end + (t_start - t_end) shape(u), u falling from 1 to 0."""
    t_start, t_end = _ends(process, num_steps, t_start, t_end)
    u = jnp.linspace(1.0, 0.0, num_steps + 1)
    return process.node(t_end + (t_start - t_end) * shape(u))


def uniform_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """Uniform in time."""
    return _power_grid(process, num_steps, lambda u: u, t_start, t_end)


def quadratic_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """Times that grow as u^2, denser near the data (Song et al. 2021, "DDIM", app. D.2)."""
    return _power_grid(process, num_steps, jnp.square, t_start, t_end)


def cosine_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """Times that grow as 1 - cos(pi u / 2), denser near the data and even near the prior."""
    return _power_grid(process, num_steps, lambda u: 1 - jnp.cos(jnp.pi * u / 2), t_start, t_end)


def _ratio_grid(
    process: Process,
    num_steps: int,
    space: tuple[Callable[[Array], Array], Callable[[Array], Array]],
    t_start: float | None,
    t_end: float | None,
) -> Node:
    """Even in space[0](sigma / alpha), whose inverse is space[1]."""
    t_start, t_end = _ends(process, num_steps, t_start, t_end)
    noisy = float(process.sigma(jnp.float32(t_end))) > 0
    require(noisy, "t_end", t_end, "a time at which sigma is not 0, so that it has a logarithm")
    there, back = space
    ends = process.node(jnp.array([t_start, t_end], jnp.float32))
    high, low = there(jnp.minimum(ends.sigma / ends.alpha, RATIO_LIMIT))
    ratio = back(jnp.linspace(high, low, num_steps + 1))
    t = process.time_of_log_snr(-2 * jnp.log(ratio))
    return process.node(t.at[0].set(t_start).at[-1].set(t_end))


def edm_grid(
    process: Process,
    num_steps: int,
    *,
    t_start: float | None = None,
    t_end: float | None = None,
    rho: float = 7.0,
) -> Node:
    """Even in (sigma / alpha)^(1 / rho) (Karras et al. 2022, eq. 5; its last, clean node apart)."""
    require(rho > 0, "rho", rho, "a positive number")
    space = (lambda s: s ** (1 / rho)), (lambda s: s**rho)
    return _ratio_grid(process, num_steps, space, t_start, t_end)


def log_snr_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """Even in log(alpha^2 / sigma^2) (Lu et al. 2022, "DPM-Solver", section 3.4)."""
    return _ratio_grid(process, num_steps, (jnp.log, jnp.exp), t_start, t_end)


def end_clean(grid: Node) -> Node:
    """The grid with one more step, to the clean node: t = 0, alpha = 1, sigma = 0."""
    return Node(*(jnp.append(f, end) for f, end in zip(grid, (0.0, 1.0, 0.0), strict=True)))


GRIDS: dict[str, Callable[..., Node]] = {
    "uniform": uniform_grid,
    "quadratic": quadratic_grid,
    "cosine": cosine_grid,
    "edm": edm_grid,
    "log_snr": log_snr_grid,
    "published": published_grid,
}
