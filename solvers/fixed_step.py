"""The base of solvers that visit every node of the grid."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from parameterization import Prediction
from sampling import RunContext, SamplerState, at, latest
from sde_lib import Node, Process

Draw = Callable[[int], Array]
Predict = Callable[[Array, Node], Prediction]


class StepResult(NamedTuple):
    """What a step returns: the new state `x`, its mean before the last noise, and solver state.

    Attributes:
      evaluations: (batch,), where a step spends other than the solver's `stages`.
      aux: that of the last prediction (`Prediction.aux`), which the run returns.
    """

    x: Array
    x_mean: Array
    state: Any
    evaluations: Array | None = None
    aux: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class FixedStep:
    """Takes all samples from node i to node i + 1 of the grid in round i.

    Subclasses give `stages`, the number of evaluations of one step, and `step`; those that remember
    something between steps give `init`, its value before the first.
    """

    @property
    @abstractmethod
    def stages(self) -> int:
        """Evaluations of one step."""
        raise TypeError(f"{type(self).__name__} must define stages")

    def validate(self, process: Process, grid: Node) -> None:
        """InvalidValue where it cannot take the process or the grid."""

    def on(self, grid: Node) -> "FixedStep":
        """The solver for this grid, where it depends on the number of steps."""
        return self

    def init(self, x: Array) -> Any:
        """What is remembered, a pytree with leading batch axes; None for a one-step solver."""
        return None

    @abstractmethod
    def step(
        self,
        process: Process,
        predict: Predict,
        x: Array,
        node: Node,
        node_next: Node,
        state: Any,
        draw: Draw,
    ) -> StepResult:
        """x at `node_next`. draw(k) is the k-th standard normal draw of the step, like x."""
        raise TypeError(f"{type(self).__name__} must define step")

    def budget(self, steps: int) -> int:
        return steps

    def begin(self, process: Process, run: RunContext, x: Array) -> Any:
        return self.init(x)

    def advance(
        self, process: Process, run: RunContext, state: SamplerState, i: Array
    ) -> SamplerState:
        batch, shape = state.x.shape[0], state.x.shape
        node, node_next = at(run.grid, i, batch), at(run.grid, i + 1, batch)
        step = self.on(run.grid).step(
            process, run.predict_at, state.x, node, node_next, state.state,
            lambda k: run.draw(i, k, shape),
        )  # fmt: skip
        spent = self.stages if step.evaluations is None else step.evaluations
        return state._replace(
            x=run.constrain(step.x, node_next, i),
            x_mean=step.x_mean,
            t=node_next.t,
            done=jnp.full(batch, i + 2 == run.grid.t.size),
            nfe=state.nfe + spent,
            depth=state.depth + spent,
            accepted=state.accepted + 1,
            state=step.state,
            aux=latest(~state.done, step.aux or {}, state.aux),
        )


def is_fixed_step(solver: Any) -> bool:
    """Whether a solver takes the steps of its grid, so that others can be made of its steps."""
    return isinstance(solver, FixedStep)
