"""How a model is sampled: the one bundle of everything but its parameters and the key.

Generation, control, evaluation, cascades and the tools all draw by it, so that a batch is spread
over the devices of the host in one place.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Key

from options.choices import choose
from options.errors import InvalidValue
from options.precision import FLOAT32, PRECISIONS
from parameterization import Cond, Predictor, as_predictor, as_pytree
from sampling import KeyedNoise, RunContext, Samples, Solver, keys_for, lower, sample
from sde_lib import Node, Process

AXIS = "samples"


@dataclasses.dataclass(frozen=True, eq=False)
class Sampler:
    """A process, a solver and the nodes that it visits, and what a state is.

    Attributes:
      shape: of one state.
      space: between states and the data that a user sees, see `data.space`; None where states are
        the data.
      denoise: see `sampling.sample`.
      precision: in which networks are sampled, of `options.precision.PRECISIONS`, see `prepared`.
        InvalidValue where the solver estimates its own error, for which rounding would be taken.
    """

    process: Process
    solver: Solver
    grid: Node
    shape: tuple[int, ...]
    space: Any = None
    denoise: str = "tweedie"
    precision: str = "float32"

    def __post_init__(self) -> None:
        exact = choose(PRECISIONS, self.precision, "precision") == FLOAT32
        if not exact and getattr(self.solver, "controls_error", False):
            but = f"{type(self.solver).__name__} would take rounding for its own error"
            raise InvalidValue("precision", self.precision, "'float32'", but)

    def prepared(self, predict: Predictor) -> Predictor:
        """The predictor in this precision; one that is no network as it is."""
        at = getattr(predict, "at", None)
        return at(self.precision) if at else predict

    def draw(self, key: Key[Array, ""], predict: Predictor, count: int, **options: Any) -> Samples:
        """`count` samples, over all devices of the host where they divide among them.

        options: the other arguments of `sampling.sample`: cond, guidance, constraint, start, ...
        """
        return sample(
            key,
            self.process,
            predict,
            self.solver,
            self.grid,
            (count, *self.shape),
            denoise=self.denoise,
            sharding=over_devices(count),
            **options,
        )

    def lower(
        self,
        predict: Predictor,
        count: int,
        cond: Cond,
        *,
        guidance: Callable[[Predictor], Predictor] | None = None,
        constraint: Callable[[Array, Node, Array], Array] | None = None,
        start: Any = None,
    ) -> jax.stages.Lowered:
        """The program of `draw` on one device, to be compiled: what memory it needs. The options
        are those of `draw`; where a run starts changes no program."""
        predict = as_predictor(predict)
        guided = as_predictor(guidance(predict), "guidance") if guidance is not None else predict
        noise = KeyedNoise(keys_for(jax.random.key(0), count))
        run = RunContext(guided, as_pytree(constraint), self.grid, noise, cond, jnp.zeros(0))
        return lower(self.process, self.solver, run, (count, *self.shape))


def in_space(solver: Solver, space: Any) -> Solver:
    """The solver for states of a space; as it is, where it does not ask."""
    asks = getattr(solver, "in_space", None)
    return asks(space) if asks else solver


def over_devices(count: int) -> NamedSharding | None:
    """The sharding of a batch axis of `count` over the devices of this host; None for one device,
    or where they do not divide it."""
    devices = jax.local_devices()
    if len(devices) == 1 or count % len(devices):
        return None
    return NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))
