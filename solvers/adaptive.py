"""Steps that each sample chooses for itself, by an estimate of its own error.

A solver gives `attempt`: a trial step and its error in units of the tolerance. A sample whose error
is at most 1 takes the step, the others stay and try a shorter one:

    h <- h clip(safety error^(-1 / order), 1/5, 5)                                      (1)

All samples attempt together, in one program; those at the end stand still. A sample's steps depend
on nothing but itself, so it comes out the same in any batch.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sampling import March, Run
from sde_lib import Node, Process, expand_right

# A step below this share of the time to go through is not told apart from none in float32.
SHORTEST = 1e-6


class Attempt(NamedTuple):
    """A trial step: the state reached, its mean before noise, its error (batch,), the memory."""

    x: Array
    x_mean: Array
    error: Float[Array, " b"]
    memory: Any


class Pace(NamedTuple):
    """The state of an adaptive run: the length of each sample's next step and its memory."""

    h: Float[Array, " b"]
    memory: Any


def scaled_norm(error: Array, scale: Array) -> Float[Array, " b"]:
    """Root mean square of error / scale over the dimensions of each sample."""
    return jnp.sqrt(jnp.mean(((error / scale) ** 2).reshape(len(error), -1), axis=1))


def _choose(condition: Array, new: Any, old: Any) -> Any:
    """Per sample, the leaves of `new` where the condition (batch,) holds."""
    return jax.tree.map(lambda a, b: jnp.where(expand_right(condition, a), a, b), new, old)


@dataclasses.dataclass(frozen=True)
class Adaptive:
    """The pace of adaptive solvers; subclasses give `stages`, `order` and `attempt`.

    Attributes:
      max_steps: attempts after which a sample is given up.
      first_step: of the run's time, the share of the first attempt.
      safety: see (1).
    """

    max_steps: int = dataclasses.field(default=2000, kw_only=True)
    first_step: float = dataclasses.field(default=0.01, kw_only=True)
    safety: float = dataclasses.field(default=0.9, kw_only=True)
    refresh_stages = 0

    def __post_init__(self) -> None:
        for name in ("rtol", "atol", "max_steps", "first_step", "safety"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a positive number")

    @property
    def stages(self) -> int:
        """Evaluations of one attempt."""
        raise TypeError(f"{type(self).__name__} must define stages")

    @property
    def order(self) -> float:
        """See (1)."""
        raise TypeError(f"{type(self).__name__} must define order")

    def attempt(
        self,
        process: Process,
        run: Run,
        x: Array,
        node: Node,
        node_next: Node,
        memory: Any,
        span: tuple[Array, Array],
    ) -> Attempt:
        """A trial step from `node` to `node_next`; span: the run's (earliest, latest) time."""
        raise TypeError(f"{type(self).__name__} must define attempt")

    def refresh(self, process: Process, run: Run, x: Array, node: Node) -> Any:
        """The memory of a state that no step led to, at a cost of `refresh_stages`."""
        return None

    def validate(self, process: Process, grid: Node) -> None:
        if not float(grid.sigma[-1]) > 0:
            raise ValueError(
                f"end_clean: the grid ends at t = {float(grid.t[-1])} where sigma is 0, expected "
                f"an end before the clean node for {type(self).__name__}"
            )

    def budget(self, steps: int) -> int:
        return self.max_steps

    def begin(self, process: Process, run: Run, x: Array) -> Pace:
        start = process.node(jnp.full(len(x), run.grid.t[0]))
        h = jnp.full(len(x), self.first_step * (run.grid.t[0] - run.grid.t[-1]))
        return Pace(h, self.refresh(process, run, x, start))

    def advance(self, process: Process, run: Run, march: March, i: Array) -> March:
        pace, end, active = march.state, run.grid.t[-1], ~march.done
        span = (end, run.grid.t[0])
        left = march.t - end
        # A rest too short for a step of its own joins this one.
        last = pace.h >= left * (1 - 1e-3)
        t_next = jnp.where(last | march.done, end, march.t - pace.h)
        node, node_next = process.node(march.t), process.node(t_next)
        found = self.attempt(process, run, march.x, node, node_next, pace.memory, span)
        error = jnp.where(jnp.isfinite(found.error), found.error, jnp.inf)
        accept = active & (error <= 1)

        factor = self.safety * jnp.maximum(error, 1e-10) ** (-1 / self.order)
        h = jnp.minimum(pace.h, left) * jnp.clip(factor, 0.2, 5.0)
        stuck = active & ~accept & (h < SHORTEST * (span[1] - span[0])) & ~jnp.isfinite(error)
        x = _choose(accept, run.constrain(found.x, node_next, i), march.x)
        memory, extra = found.memory, 0
        if run.constraint is not None and self.refresh_stages:
            memory, extra = self.refresh(process, run, x, node_next), self.refresh_stages
        begun = jnp.where(i == 0, self.refresh_stages, 0)
        spent = jnp.where(active, self.stages + jnp.where(accept, extra, 0) + begun, 0)
        return march._replace(
            x=x,
            x_mean=_choose(accept, found.x_mean, march.x_mean),
            t=jnp.where(accept, t_next, march.t),
            done=march.done | (accept & last) | stuck,
            nfe=march.nfe + spent,
            depth=march.depth + spent,
            accepted=march.accepted + accept,
            rejected=march.rejected + (active & ~accept),
            lost=jnp.where(stuck, march.t, march.lost),
            state=Pace(jnp.where(active, h, pace.h), _choose(accept, memory, pace.memory)),
        )
