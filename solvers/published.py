"""What the published samplers do other than their definitions: the `faithful` choices of solvers.

Song et al. 2021 sample with the code of a discrete chain of N levels. Level i belongs to the time
t_i = i / (N - 1), and any other time takes the level at or below it, floor(t (N - 1)). The chain
moves forward from a level to the next noisier one by

    x_i = r x_{i-1} + sqrt(b) z                                                         (1)

    process    chain                                          r                 b
    VE         SMLD's sigma_i (Song & Ermon 2019)             1                 sigma_i^2 - sigma_{i-1}^2
    VP         DDPM's beta_i (Ho et al. 2020)                 sqrt(1 - beta_i)  beta_i
    sub-VP     none: Euler-Maruyama on the SDE, dt = 1 / N    1 + f dt          g^2 dt

(their `discretize`; app. E, eq. 45). The reverse diffusion predictor reverses (1), the ancestral one
needs the levels themselves, and so does Langevin dynamics, for its factor alpha_i^2 / alpha_{i-1}^2.
Sub-VP has no levels; the original fails there.

A solver takes N as its field `faithful`, 0 for its own definition. N is also the number of steps of
the grid, `published_grid`, because Euler-Maruyama steps by dt = -1 / N whatever the gap.
"""  # noqa: E501

import dataclasses
import functools
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from options.choices import MOST_STEPS, require, require_count
from options.errors import InvalidValue
from sde_lib import (
    VESDE,
    VPSDE,
    DDPMSchedule,
    Node,
    Process,
    SMLDSchedule,
    SubVPSDE,
    expand_right,
    posterior_of,
    transition,
)


@runtime_checkable
class Chain(Protocol):
    """A published discretisation of a process."""

    def forward(self, t: Float[Array, " b"]) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """(r, b) of (1) for the step that ends at the level of t."""
        ...

    def levels(self, t: Float[Array, " b"]) -> tuple[Node, Node]:
        """The level of t and the one before; InvalidValue for a chain without levels."""
        ...


@dataclasses.dataclass(frozen=True)
class LevelChain:
    """The levels of a discrete schedule."""

    schedule: DDPMSchedule | SMLDSchedule

    def levels(self, t: Float[Array, " b"]) -> tuple[Node, Node]:
        last = self.schedule.num_steps - 1
        level = jnp.clip(jnp.floor(t * last), 0, last)
        node = self.schedule.node(level / last)
        before = self.schedule.node(jnp.maximum(level - 1, 0) / last)
        # Before level 0 there is the clean node.
        first, clean = level == 0, Node(*(jnp.full_like(t, value) for value in (0.0, 1.0, 0.0)))
        return node, Node(*(jnp.where(first, c, v) for c, v in zip(clean, before, strict=True)))

    def forward(self, t: Float[Array, " b"]) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        return transition(*self.levels(t))


@dataclasses.dataclass(frozen=True)
class EulerChain:
    """Euler-Maruyama steps of the forward SDE, dt = 1 / num_steps (the original's default)."""

    process: Process
    num_steps: int

    def forward(self, t: Float[Array, " b"]) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        drift, diffusion = self.process.log_alpha_dot(t), self.process.diffusion_squared(t)
        return 1 + drift / self.num_steps, diffusion / self.num_steps

    def levels(self, t: Float[Array, " b"]) -> tuple[Node, Node]:
        name = type(self.process).__name__
        raise InvalidValue("faithful", but=f"{name} has no published chain of noise levels")


@functools.singledispatch
def chain_of(process: Process, num_steps: int) -> Chain:
    """The published discretisation of a process into `num_steps` levels.

    InvalidValue where none was published, or where a schedule has another number of levels.
    """
    raise InvalidValue("faithful", but=f"{type(process).__name__} has no published discrete chain")


@chain_of.register(VESDE)
def _(process: VESDE, num_steps: int) -> Chain:
    return LevelChain(SMLDSchedule(num_steps, process.sigma_min, process.sigma_max))


@chain_of.register(VPSDE)
def _(process: VPSDE, num_steps: int) -> Chain:
    return LevelChain(DDPMSchedule(num_steps, process.beta_min, process.beta_max))


@chain_of.register(SubVPSDE)
def _(process: SubVPSDE, num_steps: int) -> Chain:
    return EulerChain(process, num_steps)


@chain_of.register(DDPMSchedule)
@chain_of.register(SMLDSchedule)
def _(process: DDPMSchedule | SMLDSchedule, num_steps: int) -> Chain:
    levels = f"the {process.num_steps} levels of the schedule"
    require(num_steps == process.num_steps, "faithful", num_steps, levels)
    return LevelChain(process)


def levels_of(process: Process, node: Node, node_next: Node, n: int) -> tuple[Node, Node]:
    """The nodes that a step goes between: those of the grid, or of the chain of n levels."""
    return chain_of(process, n).levels(node.t) if n else (node, node_next)


def forward_of(process: Process, node: Node, node_next: Node, n: int) -> tuple[Array, Array]:
    """(r, b) of a step: `sde_lib.transition` of the grid's nodes, or (1) of the chain of n."""
    return chain_of(process, n).forward(node.t) if n else transition(node, node_next)


def check_length(n: int, grid: Node) -> None:
    """InvalidValue for a `faithful` choice of n levels on a grid of another number of steps."""
    steps = grid.t.size - 1
    require(n in (0, steps), "faithful", n, f"0, or the number of steps of the grid, {steps}")


def check_levels(n: int, process: Process, grid: Node) -> None:
    """InvalidValue where a process has no chain of n levels, or the grid has not n steps."""
    if n:
        check_length(n, grid)
        chain_of(process, n).levels(grid.t[:1])


def ancestral(score: Array, x: Array, t: Node, s: Node) -> tuple[Array, Array]:
    """Mean, and standard deviation (batch,), of a published ancestral step between two levels.

    The mean is that of the posterior, as (x + b score) / r, since the score is one at the grid's
    node and not at the chain's level.
    """
    r, b = transition(t, s)
    x_mean = (x + expand_right(b, x) * score) / expand_right(r, x)
    variance = jnp.where(r == 1, posterior_of(t, s).variance, b)
    return x_mean, jnp.sqrt(variance)


def batch_mean(norm: Float[Array, " b"]) -> Float[Array, " b"]:
    """The mean over the batch, for each sample: the norms of published Langevin steps."""
    return jnp.full_like(norm, jnp.mean(norm))


def published_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """The grid of Song et al.'s code: num_steps nodes from t_start to t_end, each starting a step.

    The last node is there twice: a step starts from it too. For `faithful` solvers alone, which
    take a step to be 1 / num_steps whatever the gap.
    """
    require_count("num_steps", num_steps, 2, MOST_STEPS)
    low, high = process.span(t_end, t_start, "t_end, t_start")
    t = jnp.linspace(high, low, num_steps)
    return process.node(jnp.append(t, low))
