"""What one dispatch computes: a chunk of training steps, compiled for a microbatch.

g     = gradient of the mean loss over the global batch
p     = optimizer(p, g), running statistics by what the loss measured of the batch
ema   = average(ema, p)
"""

import contextlib
import ctypes
import gc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from options.memory import footprint
from tasks.task import STATISTICS, Context, Task
from training import microbatch
from training.ema import EMA
from training.optimizer import Optimizer
from training.parallel import Parallelism, State
from training.writers import LEVELS

PyTree = Any
# (context, batch, keys) -> (mean loss, metrics: scalars or one value per example)
Loss = Callable[[Context, PyTree, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
Absorb = Callable[[PyTree, PyTree, PyTree], PyTree]  # see `tasks.task.Task`


class Program:
    """The compiled steps, one program per shape of a chunk, and their microbatch.

    That is chosen for the first chunk, if it is open.
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        ema: EMA,
        strategy: Parallelism,
        plan: microbatch.Plan,
        deterministic: bool = False,
    ):
        self.microbatch, self.reason = plan.size, plan.reason
        self._plan = plan
        self._task, self._optimizer, self._ema, self._strategy = task, optimizer, ema, strategy
        self._compiled: dict[Any, Any] = {}
        self._deterministic = deterministic

    @property
    def examples_at_once(self) -> int:
        """The microbatch of a program that is prepared."""
        assert self.microbatch is not None
        return self.microbatch

    @property
    def footprint(self) -> int:
        """Bytes of a device that the programs which are prepared need, the largest of them."""
        return max(map(footprint, self._compiled.values()))

    def is_prepared(self, batches: PyTree) -> bool:
        """Whether the program for chunks like `batches` is compiled."""
        return _shapes(batches) in self._compiled

    def prepare(self, state: State, batches: PyTree) -> None:
        """Compile for chunks like `batches`, choosing the microbatch if that is still open."""
        shapes = _shapes(batches)
        if self.microbatch is None:
            choice = microbatch.choose(self._plan, lambda size: self._compile(size, state, batches))
            self.microbatch, self.reason = choice.size, choice.reason
            self._compiled[shapes] = choice.program
        elif shapes not in self._compiled:
            self._compiled[shapes] = self._compile(self.microbatch, state, batches)

    def __call__(self, state: State, batches: PyTree) -> tuple[State, dict[str, jax.Array]]:
        """The state after the chunk and the summaries of its steps; `state` is donated."""
        self.prepare(state, batches)
        return self._compiled[_shapes(batches)](state, batches)

    def _compile(self, size: int, state: State, batches: PyTree) -> Any:
        def gradient(context, batch, keys):
            return mean_gradient(self._task.loss, size, context, batch, keys)

        absorb = getattr(self._task, "absorb", None)

        def update(state, grads, summaries):
            return apply_gradient(self._optimizer, self._ema, state, grads, summaries, absorb)

        lowered = self._strategy.lower(gradient, update, state, batches)
        compiled = lowered.compile(compiler_options(jax.default_backend(), self._deterministic))
        return_free_memory()
        return compiled


def compiler_options(backend: str, deterministic: bool) -> dict[str, Any]:
    """XLA's options for a program that must give the same bits whenever it is compiled and run.

    On a GPU: no sums in any order, and no kernels chosen by timing. Others give them anyway.
    """
    return {"xla_gpu_deterministic_ops": True} if deterministic and backend == "gpu" else {}


def return_free_memory() -> None:
    """Give the host memory that tracing and compiling freed back to the system, where glibc can.

    Otherwise a small network trains within the gigabyte that its compilation needed.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _shapes(batches: PyTree) -> tuple[tuple[int, ...], ...]:
    return tuple(leaf.shape for leaf in jax.tree.leaves(batches))


def mean_gradient(
    loss: Loss, size: int, context: Context, batch: PyTree, keys: jax.Array
) -> tuple[PyTree, dict[str, jax.Array]]:
    """Gradient and summaries of the mean loss over the examples, `size` of them at a time."""

    def of_params(params, batch, keys):
        return loss(context._replace(params=params), batch, keys)

    differentiate = jax.value_and_grad(of_params, has_aux=True)

    def part(examples):
        (value, metrics), grads = differentiate(context.params, *examples)
        return grads, summarise(metrics) | {"loss": value}

    return microbatch.mean_over_microbatches(part, (batch, keys), size)


def summarise(metrics: dict[str, Float[Array, "..."]]) -> dict[str, Float[Array, "..."]]:
    """Means over the examples; for the loss per noise level, those of loss [in bin] and [in bin].

    Every summary is a mean, so that summaries of microbatches and of devices are averaged alike;
    running statistics' are so already.
    """
    rest = dict(metrics)
    level, statistics = rest.pop("level", None), rest.pop(STATISTICS, None)
    means = {name: jnp.mean(value) for name, value in rest.items()}
    if level is not None:
        bins = jnp.clip((level * LEVELS).astype(jnp.int32), 0, LEVELS - 1)
        members = jax.nn.one_hot(bins, LEVELS)  # (b, LEVELS)
        means["level_loss"] = jnp.mean(members * metrics["loss"][:, None], axis=0)
        means["level_fraction"] = jnp.mean(members, axis=0)
    return means if statistics is None else means | {STATISTICS: statistics}


def apply_gradient(
    optimizer: Optimizer,
    ema: EMA,
    state: State,
    grads: PyTree,
    summaries: dict[str, Any],
    absorb: Absorb | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """The optimizer's step, then the average's; adds the gradient's norm and the learning rate.

    absorb: the parameters of the next step, see `tasks.task.Task`.
    """
    summaries = dict(summaries)
    statistics = summaries.pop(STATISTICS, {})
    # The scopes are names in profiles; they compute nothing.
    with jax.named_scope("optimizer"):
        updates, opt_state = optimizer.transformation().update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if absorb is not None:
            params = absorb(state.params, params, statistics)
        summaries = summaries | {
            "gradient_norm": optax.global_norm(grads),
            "learning_rate": optimizer.learning_rate(state.step),
        }
    with jax.named_scope("average"):
        average = ema.update(state.ema, params, state.step + 1)
    changed = {"step": state.step + 1, "params": params, "opt_state": opt_state, "ema": average}
    return state._replace(**changed), summaries
