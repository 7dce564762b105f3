"""Sampling in parallel over time by Picard iteration (Shih et al. 2023, "ParaDiGMS", alg. 1).

The states x_0, x_1, ... of a run of any one-step solver, x_{j+1} = F_j(x_j), are also the fixed
point of (Shih et al. 2023, eq. 5)

    x_{j+1} <- x_0 + sum_{i <= j} (F_i(x_i) - x_i)                                      (1)

where all F_i can be evaluated at once. Each round evaluates a window of nodes; the part of it that
no longer moves is done, at least one node of it exactly, and the window goes on. So the result is
the sequential one to a tolerance, after fewer rounds of more evaluations.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from options.choices import require_at_least_one, require_positive
from options.classes import ask
from options.errors import InvalidValue, Words
from sampling import RunContext, SamplerState, latest, select
from sde_lib import Node, Process, example_mean, expand_right
from solvers.ddim import DDIM
from solvers.fixed_step import FixedStep, is_fixed_step


class Window(NamedTuple):
    """Each sample's place in the grid, and its guesses for the nodes from there on."""

    base: Int[Array, " b"]
    x: Array  # (batch, window + 1, *shape); [:, 0] is exact


def fixed_step_solvers() -> Mapping[str, type[FixedStep]]:
    """The solvers that Picard iteration may be of, by name."""
    from solvers import SOLVERS  # which has this module's class among them

    return {name: cls for name, cls in SOLVERS.items() if issubclass(cls, FixedStep)}


@dataclasses.dataclass(frozen=True)
class Picard:
    """Any fixed-step solver without memory, such as DDIM or Euler-Maruyama, parallel in time.

    Attributes:
      solver: the solver that is made parallel.
      window: nodes evaluated at once for each sample.
      tolerance: a node is done once it moves by less than this in root mean square, in units of
        alpha + sigma there.
      sharding: of the axis of batch * window evaluations over a mesh of Auto axes; None leaves it
        to XLA.
    """

    solver: FixedStep = dataclasses.field(default=DDIM(), metadata={"choices": fixed_step_solvers})
    window: int = 16
    tolerance: float = 1e-3
    sharding: Any = dataclasses.field(default=None, metadata={"config": False})

    def __post_init__(self) -> None:
        require_at_least_one(self, "window")
        require_positive(self, "tolerance")

    def validate(self, process: Process, grid: Node) -> None:
        name = Words(type(self.solver).__name__)
        if not is_fixed_step(self.solver):
            raise InvalidValue("solver", name, "a solver of fixed steps")
        if self.solver.init(jnp.zeros((1, 1))) is not None:
            got = Words(f"{name}, which remembers the step before")
            raise InvalidValue("solver", got, "a one-step solver")
        ask(self.solver, "validate", process, grid)

    def budget(self, steps: int) -> int:
        return steps

    def begin(self, process: Process, run: RunContext, x: Array) -> Window:
        guesses = jnp.broadcast_to(x[:, None], (len(x), self.window + 1, *x.shape[1:]))
        return Window(jnp.zeros(len(x), jnp.int32), guesses)

    def advance(
        self, process: Process, run: RunContext, state: SamplerState, i: Array
    ) -> SamplerState:
        base, x = state.state
        steps = run.grid.t.size - 1
        index = base[:, None] + jnp.arange(self.window)  # (batch, window)
        inside = index < steps
        index = jnp.minimum(index, steps - 1)
        moved, means, aux = self._evaluate(process, run, x[:, :-1], index)

        change = jnp.where(expand_right(inside, x), moved - x[:, :-1], 0.0)
        # The first node needs no sum: (1) at j = 0 is F_0(x_0), free of rounding.
        rest = x[:, :1] + jnp.cumsum(change, axis=1)
        new = jnp.concatenate([moved[:, :1], rest[:, 1:]], axis=1)
        scale = (run.grid.alpha + run.grid.sigma)[index + 1] * self.tolerance
        moves = jax.vmap(lambda gap: example_mean(gap**2, run.mask), 1, 1)(new - x[:, 1:])
        settled = jnp.sqrt(moves) <= scale
        settled = jnp.cumprod(settled.at[:, 0].set(True), axis=1).astype(bool) & inside
        stride = jnp.sum(settled, axis=1)

        reached = base + stride
        guesses = jnp.concatenate([x[:, :1], new], axis=1)
        ahead = jnp.minimum(stride[:, None] + jnp.arange(self.window + 1), self.window)
        guesses = jax.vmap(lambda row, at: row[at])(guesses, ahead)
        at_end = lambda rows: jax.vmap(lambda row, k: row[k])(rows, jnp.maximum(stride - 1, 0))  # noqa: E731
        active = ~state.done
        spent = self.solver.stages * jnp.sum(inside, axis=1)
        return state._replace(
            x=guesses[:, 0],
            x_mean=select(active, at_end(means), state.x_mean),
            t=run.grid.t[reached],
            done=reached == steps,
            nfe=state.nfe + spent,
            depth=state.depth + jnp.where(active, self.solver.stages, 0),
            accepted=reached,
            state=Window(reached, guesses),
            aux=latest(active, jax.tree.map(at_end, aux), state.aux),
        )

    def _evaluate(
        self, process: Process, run: RunContext, x: Array, index: Array
    ) -> tuple[Array, Array, Mapping[str, Any]]:
        """F at each sample's nodes `index` (batch, window): states, means and aux, like x."""
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
        solver = self.solver.on(run.grid)
        step = solver.step(process, at_nodes.predict_at, states, node, node_next, None, draw)
        moved, means, aux = jax.tree.map(
            lambda leaf: leaf.reshape(batch, window, *leaf.shape[1:]),
            (step.x, step.x_mean, step.aux or {}),
        )
        if run.constraint is not None:
            moved = self._constrain(run, moved, index)
        return moved, means, aux

    def _noise(self, run: RunContext, k: int, index: Array, shape: tuple[int, ...]) -> Array:
        """Draw k of each sample's nodes `index` (batch, window), like `_evaluate`'s x."""
        return jax.vmap(lambda step: run.draw(step, k, shape), in_axes=1, out_axes=1)(index)

    def _constrain(self, run: RunContext, x: Array, index: Array) -> Array:
        """The constraint acts on a batch at a time, since it may hold one value a sample."""
        node = Node(*(field[index + 1] for field in run.grid))
        return jax.vmap(run.constrain, in_axes=1, out_axes=1)(x, node, index)
