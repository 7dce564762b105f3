"""Steps that each sample chooses for itself, by an estimate of its own error.

A method gives a trial step and its error in units of the tolerance. A sample whose error is at most
1 takes the step, the others stay and try a shorter one:

    h <- h clip(safety error^(-1 / order), shrink, grow)                                (1)

(Hairer, Norsett & Wanner 1993, section II.4). All samples of a batch attempt together, in one
program; those at the end stand still. A sample's steps depend on nothing but itself, so it comes
out the same in any batch.

`StepController` is (1), for whatever integrates; `Adaptive` is the base of solvers by it.
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from options.choices import require_positive
from options.errors import InvalidValue
from sampling import RunContext, SamplerState, latest, select
from sde_lib import Node, Process, example_mean

# Below this step, relative to the interval, float32 cannot resolve the times between.
SHORTEST = 1e-6


def scaled_norm(
    error: Float[Array, "b *shape"], scale: Float[Array, "b *shape"], mask: Array | None = None
) -> Float[Array, " b"]:
    """Root mean square of error / scale over the real coordinates of each sample."""
    return jnp.sqrt(example_mean((error / scale) ** 2, mask))


class Verdict(NamedTuple):
    """What follows from an attempt, for each sample.

    Attributes:
      accept: whether the step is taken.
      h: length of the next attempt.
      stuck: whether the step was refused and the next would be too short to make a difference.
      finite: whether the error was a finite number.
    """

    accept: Bool[Array, " b"]
    h: Float[Array, " b"]
    stuck: Bool[Array, " b"]
    finite: Bool[Array, " b"]


@dataclasses.dataclass(frozen=True)
class StepController:
    """(1). order: of the error estimate; an error that is not finite shrinks the step."""

    order: float
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 5.0

    def target(
        self, t: Float[Array, " b"], h: Float[Array, " b"], end: Float[Array, ""]
    ) -> tuple[Float[Array, " b"], Bool[Array, " b"]]:
        """The time of the attempt from t, and whether it is the last, at `end` on either side.

        A remainder too short for a step of its own joins this one.
        """
        last = 1.001 * h >= jnp.abs(end - t)
        return jnp.where(last, end, t + jnp.sign(end - t) * h), last

    def judge(
        self,
        error: Float[Array, " b"],
        h: Float[Array, " b"],
        left: Float[Array, " b"],
        span: Float[Array, ""],
    ) -> Verdict:
        """The verdict on an attempt of length min(h, left) within a run of length `span`."""
        finite = jnp.isfinite(error)
        accept = finite & (error <= 1)
        factor = self.safety * jnp.maximum(error, 1e-10) ** (-1 / self.order)
        factor = jnp.where(finite, jnp.clip(factor, self.shrink, self.grow), self.shrink)
        h = jnp.minimum(h, left) * factor
        return Verdict(accept, h, ~accept & (h < SHORTEST * span), finite)


class Attempt(NamedTuple):
    """A trial step: the state reached, its mean before noise, its error (batch,), the memory.

    `aux` is that of the last prediction.
    """

    x: Array
    x_mean: Array
    error: Float[Array, " b"]
    memory: Any
    aux: Mapping[str, Any] | None = None


class Stepping(NamedTuple):
    """An adaptive solver's own state: the length of each sample's next step and its memory."""

    h: Float[Array, " b"]
    memory: Any


@dataclasses.dataclass(frozen=True)
class Adaptive:
    """The base of adaptive solvers; subclasses give `stages`, `controller` and
    `attempt`.

    They go from the first node of the grid to the last, which must be before the clean node.

    Attributes:
      max_steps: attempts after which a sample is left where it is.
      first_step: length of the first attempt, as a fraction of the run's time.
      safety: factor below 1 on the step that the error of the last one would allow, see (1).
    """

    controls_error: ClassVar[bool] = True

    max_steps: int = dataclasses.field(default=2000, kw_only=True)
    first_step: float = dataclasses.field(default=0.01, kw_only=True)
    safety: float = dataclasses.field(default=0.9, kw_only=True)
    refresh_stages = 0

    def __post_init__(self) -> None:
        unset = {"atol"} if getattr(self, "atol", 0.0) is None else set()
        fields = ("rtol", "atol", "max_steps", "first_step", "safety")
        require_positive(self, *(name for name in fields if name not in unset))

    @property
    @abstractmethod
    def stages(self) -> int:
        """Evaluations of one attempt."""
        raise TypeError(f"{type(self).__name__} must define stages")

    @property
    @abstractmethod
    def controller(self) -> StepController:
        """How long the next attempt is."""
        raise TypeError(f"{type(self).__name__} must define controller")

    @abstractmethod
    def attempt(
        self,
        process: Process,
        run: RunContext,
        x: Array,
        node: Node,
        node_next: Node,
        memory: Any,
    ) -> Attempt:
        """A trial step from `node` to `node_next`."""
        raise TypeError(f"{type(self).__name__} must define attempt")

    def refresh(self, process: Process, run: RunContext, x: Array, node: Node) -> Any:
        """The memory of a state that no step led to, at a cost of `refresh_stages`."""
        return None

    def validate(self, process: Process, grid: Node) -> None:
        if not float(grid.sigma[-1]) > 0:
            end = f"the grid ends at t = {float(grid.t[-1])} where sigma is 0"
            expected = f"expected an end before the clean node for {type(self).__name__}"
            raise InvalidValue("end_clean", but=f"{end}, {expected}")

    def budget(self, steps: int) -> int:
        return self.max_steps

    def begin(self, process: Process, run: RunContext, x: Array) -> Stepping:
        start = process.node(jnp.full(len(x), run.grid.t[0]))
        h = jnp.full(len(x), self.first_step * (run.grid.t[0] - run.grid.t[-1]))
        return Stepping(h, self.refresh(process, run, x, start))

    def advance(
        self, process: Process, run: RunContext, state: SamplerState, i: Array
    ) -> SamplerState:
        control = self.controller
        own, end, active = state.state, run.grid.t[-1], ~state.done
        t_next, last = control.target(state.t, own.h, end)
        t_next = jnp.where(state.done, end, t_next)
        node, node_next = process.node(state.t), process.node(t_next)
        found = self.attempt(process, run, state.x, node, node_next, own.memory)
        verdict = control.judge(found.error, own.h, state.t - end, run.grid.t[0] - end)
        accept = active & verdict.accept
        # Too short a step is tried on, in case of rounding, unless nothing there is finite.
        lost = active & verdict.stuck & ~verdict.finite

        x = select(accept, run.constrain(found.x, node_next, i), state.x)
        memory, extra = found.memory, 0
        if run.constraint is not None and self.refresh_stages:
            memory, extra = self.refresh(process, run, x, node_next), self.refresh_stages
        begun = jnp.where(i == 0, self.refresh_stages, 0)
        spent = jnp.where(active, self.stages + jnp.where(accept, extra, 0) + begun, 0)
        memory = select(accept, memory, own.memory)
        return state._replace(
            x=x,
            x_mean=select(accept, found.x_mean, state.x_mean),
            t=jnp.where(accept, t_next, state.t),
            done=state.done | (accept & last) | lost,
            nfe=state.nfe + spent,
            depth=state.depth + spent,
            accepted=state.accepted + accept,
            rejected=state.rejected + (active & ~accept),
            lost=jnp.where(lost, state.t, state.lost),
            state=Stepping(jnp.where(active, verdict.h, own.h), memory),
            aux=latest(active, found.aux or {}, state.aux),
        )
