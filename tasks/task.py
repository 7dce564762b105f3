"""What a training run needs of what it trains."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int, Key

PyTree = Any
STATISTICS = "statistics"  # the entry of metrics that `absorb` takes
Batch = dict[str, Any]  # pytrees of arrays


class Context(NamedTuple):
    """What a loss may depend on beside the batch; it is differentiated in `params` alone.

    Attributes:
      params: the parameters that are trained; for drawing, their average.
      ema: the average of the parameters.
      step: updates done, an int32 scalar.
      frozen: parameters that are never trained: a teacher, an autoencoder.
    """

    params: PyTree
    ema: PyTree = None
    step: Int[Array, ""] | int = 0
    frozen: PyTree = ()


@runtime_checkable
class Task(Protocol):
    """What is trained.

    One with dropout, running statistics or a precision of its own also has `for_evaluation()`, the
    same task without any, by which the loss of held-out examples is measured. One with running
    statistics has `absorb(before, after, measured)`: the parameters of the next step, of those
    before and after the optimizer's and of metrics[STATISTICS], a pytree of means over the batch
    (averaged over microbatches and devices; {} where there is none).

    Attributes:
      frozen: what `Context.frozen` is to be, () for nothing. It is an argument of the compiled
        program, placed on the devices as the parameters are, and not stored in checkpoints.
    """

    @property
    def frozen(self) -> PyTree: ...

    def init(self, key: Key[Array, ""]) -> PyTree:
        """New float32 parameters; it is compiled, since op by op a small network takes 20 s."""
        ...

    def loss(
        self, context: Context, batch: Batch, keys: Key[Array, " b"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """(mean loss over the b examples, metrics: scalars or (b,)), by one key an example.

        Metrics "loss" (b,) and "level" (b,) in [0, 1] give the loss by noise level.
        """
        ...

    def draw(self, context: Context, key: Key[Array, ""]) -> dict[str, np.ndarray]:
        """uint8 plots, (H, W, 3) or (H, W), of what the averaged parameters do, by name."""
        ...
