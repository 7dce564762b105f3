"""Numbered examples, and what the loss of a task says of each.

Number i of a source is the i-th in an order drawn from the seed. Its noise is keyed by
(seed, purpose, i): no value depends on the batch that an example is in, checkpoints are compared
under the same noise, and number i of one source has the noise of number i of another.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key

from data import Source, Transform
from data.randomness import permutation
from solvers.sampler import over_devices
from tasks.task import Context, Task

PyTree = Any
LOSS = 0  # the purpose of the keys of a loss


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """The numbered examples of a source.

    Attributes:
      transform: what is made of them; without flips and augmentation.
      seed: of the order and of all noise.
    """

    source: Source
    transform: Transform
    seed: int

    def __len__(self) -> int:
        return len(self.source)

    @functools.cached_property
    def _order(self) -> Int[np.ndarray, "n"]:
        return permutation(self.seed, 0, len(self.source))

    def batch(
        self, numbers: Int[np.ndarray, "b"], transform: Transform | None = None, draw: int = 0
    ) -> dict[str, Any]:
        """The examples of consecutive numbers, the last of which may be repeated.

        Args:
          transform: in place of the own one. draw: of its noise, from 0 on.
        """
        positions = range(int(numbers[0]), int(numbers[0]) + len(numbers))
        # Numbers of the same example in two streams are independent; seeds are below 2^32.
        seed = self.seed + (draw << 32)
        records = self.source.take(self._order[numbers])
        batch = (transform or self.transform)(records, positions, seed)
        return jax.tree.map(jnp.asarray, dict(batch))

    def keys(self, purpose: int, numbers: Int[np.ndarray, "b"]) -> Key[Array, "b"]:
        """A key for each example, independent of its batch."""
        key = jax.random.fold_in(jax.random.key(self.seed), purpose)
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(numbers))


class Losses:
    """What the loss of a task says of each example, by one compiled program.

    A batch that the devices of the host divide is spread over them.
    """

    def __init__(self, task: Task) -> None:
        self.task = for_evaluation(task)
        self._program = jax.jit(self._of_each)

    def __call__(
        self, context: Context, examples: Examples, numbers: Int[np.ndarray, "b"]
    ) -> dict[str, Any]:
        """The metrics of the loss by name, "loss" among them, (b,) each; see `Task.loss`."""
        inputs = examples.batch(numbers), examples.keys(LOSS, numbers)
        inputs = jax.device_put(inputs, over_devices(len(numbers)))
        return self._program(on_devices(context, len(numbers)), *inputs)

    def lower(self, params: PyTree, batch: PyTree, keys: Key[Array, "b"]) -> jax.stages.Lowered:
        """The program for examples on one device, of which `batch` may be mere shapes."""
        return self._program.lower(Context(params), batch, keys)

    def _of_each(
        self, context: Context, batch: dict[str, Any], keys: Key[Array, "b"]
    ) -> dict[str, Any]:
        mean, metrics = self.task.loss(context, batch, keys)
        found = {"loss": mean, **metrics}
        return {name: jnp.broadcast_to(value, keys.shape) for name, value in found.items()}


def on_devices(tree: PyTree, count: int) -> PyTree:
    """The whole tree on each of the devices that share a batch of `count`; no copy of what is."""
    sharding = over_devices(count)
    return jax.device_put(tree, sharding and NamedSharding(sharding.mesh, PartitionSpec()))


def for_evaluation(task: Task) -> Task:
    """The task as it is evaluated; as it is, where it makes no difference."""
    evaluated = getattr(task, "for_evaluation", None)
    return evaluated() if evaluated else task
