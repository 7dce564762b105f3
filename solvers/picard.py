"""Sampling in parallel over time by Picard iteration (Shih et al. 2023, "ParaDiGMS", alg. 1).

The states x_0, x_1, ... of a run of any one-step solver, x_{j+1} = F_j(x_j), are also the fixed
point of (papers/002, section 11.5)

    x_{j+1} <- x_0 + sum_{i <= j} (F_i(x_i) - x_i)                                      (1)

where all F_i can be evaluated at once. Each round evaluates a window of nodes; the part of it that
no longer moves is done, at least one node of it exactly, and the window goes on. So the result is
the sequential one to a tolerance, after fewer rounds of more evaluations.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from sampling import CONSTRAINT_DRAW, March, Run, Solver
from sde_lib import Node, Process, expand_right


class Window(NamedTuple):
    """Each sample's place in the grid, and its guesses for the nodes from there on."""

    base: Int[Array, " b"]
    x: Array  # (batch, window + 1, *shape); [:, 0] is exact


@dataclasses.dataclass(frozen=True)
class Picard:
    """Any fixed-step solver without memory, such as DDIM or Euler-Maruyama, parallel in time.

    Attributes:
      window: nodes evaluated at once for each sample.
      tolerance: a node is done once it moves by less than this in root mean square, in units of
        alpha + sigma there.
      sharding: of the axis of batch * window evaluations over a mesh of Auto axes; None leaves it
        to XLA.
    """

    solver: Solver
    window: int = 16
    tolerance: float = 1e-3
    sharding: Any = None

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window: got {self.window}, expected at least 1")
        if not self.tolerance > 0:
            raise ValueError(f"tolerance: got {self.tolerance}, expected a positive number")

    def validate(self, process: Process, grid: Node) -> None:
        if self.solver.init(jnp.zeros((1, 1))) is not None:
            raise ValueError(
                f"solver: got {type(self.solver).__name__}, which remembers the step before; "
                "Picard iteration needs a one-step solver"
            )
        self.solver.validate(process, grid)

    def budget(self, steps: int) -> int:
        return steps

    def begin(self, process: Process, run: Run, x: Array) -> Window:
        guesses = jnp.broadcast_to(x[:, None], (len(x), self.window + 1, *x.shape[1:]))
        return Window(jnp.zeros(len(x), jnp.int32), guesses)

    def advance(self, process: Process, run: Run, march: March, i: Array) -> March:
        base, x = march.state
        steps = run.grid.t.size - 1
        index = base[:, None] + jnp.arange(self.window)  # (batch, window)
        inside = index < steps
        index = jnp.minimum(index, steps - 1)
        moved, means = self._evaluate(process, run, x[:, :-1], index)

        change = jnp.where(expand_right(inside, x), moved - x[:, :-1], 0.0)
        # The first node needs no sum: (1) at j = 0 is F_0(x_0), free of rounding.
        rest = x[:, :1] + jnp.cumsum(change, axis=1)
        new = jnp.concatenate([moved[:, :1], rest[:, 1:]], axis=1)
        scale = (run.grid.alpha + run.grid.sigma)[index + 1] * self.tolerance
        gap = (new - x[:, 1:]).reshape(*new.shape[:2], -1)
        settled = jnp.sqrt(jnp.mean(gap**2, axis=-1)) <= scale
        settled = jnp.cumprod(settled.at[:, 0].set(True), axis=1).astype(bool) & inside
        stride = jnp.sum(settled, axis=1)

        reached = base + stride
        guesses = jnp.concatenate([x[:, :1], new], axis=1)
        ahead = jnp.minimum(stride[:, None] + jnp.arange(self.window + 1), self.window)
        guesses = jax.vmap(lambda row, at: row[at])(guesses, ahead)
        mean = jax.vmap(lambda row, k: row[k])(means, jnp.maximum(stride - 1, 0))
        active = ~march.done
        spent = self.solver.stages * jnp.sum(inside, axis=1)
        return march._replace(
            x=guesses[:, 0],
            x_mean=jnp.where(expand_right(active, mean), mean, march.x_mean),
            t=run.grid.t[reached],
            done=reached == steps,
            nfe=march.nfe + spent,
            depth=march.depth + jnp.where(active, self.solver.stages, 0),
            accepted=reached,
            state=Window(reached, guesses),
        )

    def _evaluate(self, process: Process, run: Run, x: Array, index: Array) -> tuple[Array, Array]:
        """F at each sample's nodes `index` (batch, window): states and means, like x."""
        batch, window, *shape = x.shape

        def flat(a: Array) -> Array:
            return a.reshape(batch * window, *a.shape[2:])

        def draw(k: int) -> Array:
            return flat(self._noise(run, k, index, (batch, *shape)))

        node = Node(*(flat(field[index]) for field in run.grid))
        node_next = Node(*(flat(field[index + 1]) for field in run.grid))
        states = flat(x)
        if self.sharding is not None:
            states = jax.lax.with_sharding_constraint(states, self.sharding)
        cond = jax.tree.map(lambda c: jnp.repeat(c, window, axis=0), run.cond)
        at_nodes = run._replace(cond=cond)
        step = self.solver.step(process, at_nodes.predict_at, states, node, node_next, None, draw)
        moved = step.x.reshape(x.shape)
        if run.constraint is not None:
            moved = self._constrain(run, moved, index)
        return moved, step.x_mean.reshape(x.shape)

    def _noise(self, run: Run, k: int, index: Array, shape: tuple[int, ...]) -> Array:
        """Draw k of each sample's nodes `index` (batch, window), like `_evaluate`'s x."""
        return jax.vmap(lambda step: run.noise(step, k, shape), in_axes=1, out_axes=1)(index)

    def _constrain(self, run: Run, x: Array, index: Array) -> Array:
        """The constraint acts on a batch at a time, since it may hold one value a sample."""
        node = Node(*(field[index + 1] for field in run.grid))
        z = self._noise(run, CONSTRAINT_DRAW, index, x[:, 0].shape)
        return jax.vmap(run.constraint, in_axes=1, out_axes=1)(x, node, z)
