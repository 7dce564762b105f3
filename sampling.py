"""Sampling: grids of nodes, sources of noise, and the one loop that every solver runs in.

A grid is a `Node` whose fields have shape (steps + 1,): the noise levels that a run visits, from
the prior down. A solver moves x from one node to the next; `sample()` runs it over the grid as one
compiled program, dispatched in chunks of steps so that progress shows between them.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from parameterization import NO_COND, Cond, Predictor
from sde_lib import Node, Process

Draw = Callable[[int], Array]

# Draws of a constraint come after those of any solver in the same step.
CONSTRAINT_DRAW = 1 << 16
DENOISE_CHOICES = ("tweedie", "mean", "none")


class StepResult(NamedTuple):
    """What a step returns: the new state `x`, its mean before the last noise, and solver state."""

    x: Array
    x_mean: Array
    state: Any


@runtime_checkable
class Solver(Protocol):
    """Moves a batch from one node to the next. Frozen, hashable, without parameters.

    `stages` is the number of network evaluations of one step. `validate` raises ValueError, before
    anything is compiled, where the solver cannot take the process or the grid's length.
    """

    @property
    def stages(self) -> int: ...

    def validate(self, process: Process) -> None: ...

    def init(self, x: Array) -> Any: ...

    def step(
        self,
        process: Process,
        predict: Callable[[Array, Node], Any],
        x: Array,
        node: Node,
        node_next: Node,
        state: Any,
        draw: Draw,
    ) -> StepResult: ...


@runtime_checkable
class NoiseSource(Protocol):
    """A pytree that gives the standard normal draws of a run, each like x: (batch, *shape)."""

    def initial(self, shape: tuple[int, ...]) -> Array: ...

    def __call__(self, step: Array, draw: int, shape: tuple[int, ...]) -> Array: ...


@functools.partial(jax.tree_util.register_dataclass, data_fields=["keys"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class KeyedNoise:
    """Noise from one key per sample, so that a sample does not depend on its batch or device."""

    keys: Key[Array, " b"]

    def initial(self, shape: tuple[int, ...]) -> Array:
        return self._normal(jax.vmap(jax.random.fold_in, (0, None))(self.keys, 0), shape)

    def __call__(self, step: Array, draw: int, shape: tuple[int, ...]) -> Array:
        def fold(key: Array) -> Array:
            return jax.random.fold_in(jax.random.fold_in(key, step + 1), draw)

        return self._normal(jax.vmap(fold)(self.keys), shape)

    def _normal(self, keys: Array, shape: tuple[int, ...]) -> Array:
        return jax.vmap(lambda key: jax.random.normal(key, shape[1:]))(keys)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["start", "draws"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class ReplayedNoise:
    """Recorded noise: `start` (batch, *shape), `draws` (steps, draws a step, batch, *shape)."""

    start: Array
    draws: Array

    def initial(self, shape: tuple[int, ...]) -> Array:
        return self.start

    def __call__(self, step: Array, draw: int, shape: tuple[int, ...]) -> Array:
        return self.draws[step, draw]


class Samples(NamedTuple):
    """What a run returns.

    Attributes:
      x: samples in the process's data range, (batch, *shape).
      nfe: network evaluations spent on each sample, int32 (batch,).
      accepted: accepted steps of each sample, int32 (batch,).
      rejected: rejected steps of each sample, int32 (batch,).
      ok: whether each sample is finite and reached the end of the grid, bool (batch,).
      path: states along the way on the host, (frames, batch, *shape), the last one the result; None
        unless asked for.
    """

    x: Float[Array, "b *shape"]
    nfe: Int[Array, " b"]
    accepted: Int[Array, " b"]
    rejected: Int[Array, " b"]
    ok: Array
    path: np.ndarray | None


def uniform_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """num_steps + 1 nodes, uniform in time from `t_start` (default t_max) to `t_end` (t_min)."""
    if num_steps < 1:
        raise ValueError(f"num_steps: got {num_steps}, expected at least 1")
    t_start = process.t_max if t_start is None else t_start
    t_end = process.t_min if t_end is None else t_end
    if not 0 <= t_end < t_start <= process.t_max:
        raise ValueError(
            f"t_end, t_start: got {t_end}, {t_start}, expected 0 <= t_end < t_start <= t_max "
            f"= {process.t_max}"
        )
    return process.node(jnp.linspace(t_start, t_end, num_steps + 1))


def published_grid(process: Process, num_steps: int, *, t_end: float) -> Node:
    """The grid of Song et al.'s code: num_steps nodes from t_max to t_end, each starting a step.

    The last node is there twice: a step starts from it too. It belongs with the `faithful` choices
    of solvers, which take a step to be 1 / num_steps whatever the gap.
    """
    if num_steps < 2:
        raise ValueError(f"num_steps: got {num_steps}, expected at least 2")
    t = jnp.linspace(process.t_max, t_end, num_steps)
    return process.node(jnp.append(t, t_end))


GRIDS: dict[str, Callable[..., Node]] = {"uniform": uniform_grid, "published": published_grid}


class _Carry(NamedTuple):
    x: Array
    x_mean: Array
    state: Any


def _at(grid: Node, i: Array | int, batch: int) -> Node:
    """Node i of the grid with fields of shape (batch,)."""
    return Node(*(jnp.broadcast_to(field[i], (batch,)) for field in grid))


@functools.partial(jax.jit, static_argnames=("process", "solver"), donate_argnames=("carry",))
def _run_chunk(
    process: Process,
    solver: Solver,
    predict: Predictor,
    constraint: Any,
    grid: Node,
    noise: NoiseSource,
    cond: Cond,
    carry: _Carry,
    start: Array,
    stop: Array,
) -> _Carry:
    """Steps start .. stop - 1 of the run. The bounds are traced: one program serves every chunk."""
    batch, shape = carry.x.shape[0], carry.x.shape

    def one_step(i: Array, carry: _Carry) -> _Carry:
        node, node_next = _at(grid, i, batch), _at(grid, i + 1, batch)
        x, x_mean, state = solver.step(
            process,
            lambda x, node: predict(x, node, cond),
            carry.x,
            node,
            node_next,
            carry.state,
            lambda k: noise(i, k, shape),
        )
        if constraint is not None:
            x = constraint(x, node_next, noise(i, CONSTRAINT_DRAW, shape))
        return _Carry(x, x_mean, state)

    return jax.lax.fori_loop(start, stop, one_step, carry)


@jax.jit
def _denoise(predict: Predictor, x: Array, node: Node, cond: Cond) -> Array:
    """Tweedie's formula: E[x_0 | x_t] (Efron 2011; Song et al. 2021, app. G)."""
    return predict(x, node, cond).x_0


def _check_grid(grid: Node) -> int:
    """The number of steps; ValueError for an empty grid or times that do not fall."""
    t = np.asarray(grid.t)
    if t.ndim != 1 or t.size < 2:
        raise ValueError(f"grid: got times of shape {t.shape}, expected (steps + 1,) with a step")
    # The published grid repeats its last node, so the last gap may be zero.
    if np.any(np.diff(t[:-1]) >= 0) or t[-1] > t[-2]:
        raise ValueError(f"grid: times must fall from first to last, got {t}")
    return t.size - 1


def _as_pytree(function: Any) -> Any:
    """A plain function as a pytree without leaves; pytrees and None as they are."""
    is_leaf = function is not None and jax.tree_util.all_leaves([function])
    return jax.tree_util.Partial(function) if is_leaf else function


def keys_for(key: Key[Array, ""], batch: int, first_index: int = 0) -> Key[Array, " b"]:
    """The key of each sample, by its index in the whole run."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first_index + jnp.arange(batch))


def sample(
    key: Key[Array, ""],
    process: Process,
    predict: Predictor,
    solver: Solver,
    grid: Node,
    shape: tuple[int, ...],
    *,
    cond: Cond = NO_COND,
    guidance: Callable[[Predictor], Predictor] | None = None,
    constraint: Callable[[Array, Node, Array], Array] | None = None,
    start: tuple[Array, Node] | None = None,
    denoise: str = "tweedie",
    noise: NoiseSource | None = None,
    first_index: int = 0,
    frames: int = 0,
    chunk: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    sharding: jax.sharding.Sharding | None = None,
) -> Samples:
    """Draws `shape[0]` samples of shape `shape[1:]` by `solver` over `grid`.

    Args:
      key: a typed key. Sample i of the run depends on it and `first_index + i` alone.
      predict: what estimates (x_0, eps); a pytree, so its parameters are not compiled in.
      cond: conditioning with a leading batch axis, given to `predict` at each call.
      guidance: turns the predictor into a guided one.
      constraint: `constraint(x, node, noise)` after every step and after the final denoising.
      start: (x, node) to start from in place of the prior; the grid must begin at that node.
      denoise: "tweedie" ends with E[x_0 | x], one more evaluation; "mean" returns the mean of the
        last step before its noise, as the published samplers do; "none" returns the state.
      noise: a source of noise in place of the key, for replaying a recorded run.
      first_index: index of the first sample, where a large run is drawn in several calls.
      frames: number of states along the way to return as `path`.
      chunk: steps between two calls of `progress`; default an eighth of the run with progress.
      progress: called as progress(steps done, steps in all).
      sharding: of the batch axis, where the samples are spread over devices.

    Raises:
      ValueError: an unknown `denoise`, a grid that does not fall or does not begin at `start`, a
        solver that the process cannot serve. Samples that are not finite warn and have ok = False.
    """
    steps = _check_grid(grid)
    if denoise not in DENOISE_CHOICES:
        raise ValueError(f"denoise: got {denoise!r}, expected one of {DENOISE_CHOICES}")
    solver.validate(process)
    if guidance is not None:
        predict = guidance(predict)
    predict, constraint = _as_pytree(predict), _as_pytree(constraint)
    if noise is None:
        keys = keys_for(key, shape[0], first_index)
        noise = KeyedNoise(keys if sharding is None else jax.device_put(keys, sharding))

    x = _initial_state(process, grid, noise, shape, start)
    # x_mean is a buffer of its own, since the carry is donated.
    carry = _Carry(x, jnp.copy(x), solver.init(x))
    marks = _chunk_marks(steps, chunk, frames, progress is not None)
    kept = set(np.linspace(0, steps, frames, dtype=int)) if frames else set()
    path = [np.asarray(x)] if frames else []
    for begin, end in zip(marks[:-1], marks[1:], strict=True):
        carry = _run_chunk(
            process, solver, predict, constraint, grid, noise, cond, carry, begin, end
        )
        if end in kept and end < steps:
            path.append(np.asarray(carry.x))
        if progress is not None:
            jax.block_until_ready(carry.x)
            progress(end, steps)

    nfe = steps * solver.stages
    x = carry.x_mean if denoise == "mean" else carry.x
    if denoise == "tweedie":
        x, nfe = _denoise(predict, x, _at(grid, steps, shape[0]), cond), nfe + 1
    if constraint is not None and denoise != "none":
        clean = Node(*(jnp.full(shape[:1], value) for value in (0.0, 1.0, 0.0)))
        x = constraint(x, clean, noise(jnp.int32(steps), CONSTRAINT_DRAW, shape))
    if frames:
        path.append(np.asarray(x))
    return _summarise(x, steps, nfe, np.stack(path) if frames else None)


def _initial_state(
    process: Process,
    grid: Node,
    noise: NoiseSource,
    shape: tuple[int, ...],
    start: tuple[Array, Node] | None,
) -> Array:
    if start is None:
        return process.prior_std * noise.initial(shape)
    x, node = start
    if x.shape != shape:
        raise ValueError(f"start: got a state of shape {x.shape}, expected {shape}")
    if not np.allclose(np.asarray(node.t), np.asarray(grid.t[0])):
        raise ValueError(f"start: its time is {node.t}, but the grid begins at {grid.t[0]}")
    return jnp.copy(x)


def _chunk_marks(steps: int, chunk: int | None, frames: int, progress: bool) -> list[int]:
    """Step numbers at which the run returns to the host: 0, ..., steps."""
    if chunk is None:
        chunk = max(1, steps // 8) if progress else steps
    marks = set(range(0, steps, chunk)) | {steps}
    if frames:
        marks |= {int(i) for i in np.linspace(0, steps, frames, dtype=int)}
    return sorted(marks)


def _summarise(x: Array, steps: int, nfe: int, path: Any) -> Samples:
    batch = x.shape[0]
    ok = jnp.all(jnp.isfinite(x.reshape(batch, -1)), axis=1)
    if not bool(jnp.all(ok)):
        bad = np.flatnonzero(~np.asarray(ok))
        warnings.warn(f"samples {bad.tolist()} are not finite", stacklevel=3)
    count = functools.partial(jnp.full, (batch,), dtype=jnp.int32)
    return Samples(x, count(nfe), count(steps), count(0), ok, path)
