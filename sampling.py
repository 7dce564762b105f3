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

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from parameterization import NO_COND, Cond, Predictor, as_pytree
from sde_lib import Node, Process, expand_right

Draw = Callable[[int], Array]

# Of its span, the shortest time over which a Brownian path is told apart from a straight line.
BROWNIAN_TOLERANCE = 2.0**-20
# Draws of a constraint come after those of any solver in the same step.
CONSTRAINT_DRAW = 1 << 16
DENOISE_CHOICES = ("tweedie", "mean", "none")


class StepResult(NamedTuple):
    """What a step returns: the new state `x`, its mean before the last noise, and solver state.

    `evaluations` (batch,) is given where a step spends other than the solver's `stages`.
    """

    x: Array
    x_mean: Array
    state: Any
    evaluations: Array | None = None


@runtime_checkable
class Solver(Protocol):
    """Moves a batch from one node to the next. Frozen, hashable, without parameters.

    `stages` is the number of network evaluations of one step. `validate` raises ValueError, before
    anything is compiled, where the solver cannot take the process or the grid. `init` gives the
    state before the first step: a pytree of arrays with a leading batch axis.
    """

    @property
    def stages(self) -> int: ...

    def validate(self, process: Process, grid: Node) -> None: ...

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
    """A pytree that gives the standard normal draws of a run, each like x: (batch, *shape).

    `step` is () or, where samples are at different steps, (batch,).
    """

    def initial(self, shape: tuple[int, ...]) -> Array: ...

    def __call__(self, step: Array, draw: int, shape: tuple[int, ...]) -> Array: ...

    def brownian(
        self, low: Array, high: Array, span: tuple[Array, Array], shape: tuple[int, ...]
    ) -> Array:
        """W(high) - W(low), times (batch,), of one Brownian path a sample over the whole span."""
        ...


@functools.partial(jax.tree_util.register_dataclass, data_fields=["keys"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class KeyedNoise:
    """Noise from one key per sample, so that a sample does not depend on its batch or device."""

    keys: Key[Array, " b"]

    def initial(self, shape: tuple[int, ...]) -> Array:
        return self._normal(jax.vmap(jax.random.fold_in, (0, None))(self.keys, 0), shape)

    def __call__(self, step: Array, draw: int, shape: tuple[int, ...]) -> Array:
        def fold(key: Array, step: Array) -> Array:
            return jax.random.fold_in(jax.random.fold_in(key, step + 1), draw)

        steps = jnp.broadcast_to(step, self.keys.shape)
        return self._normal(jax.vmap(fold)(self.keys, steps), shape)

    def brownian(
        self, low: Array, high: Array, span: tuple[Array, Array], shape: tuple[int, ...]
    ) -> Array:
        def increment(key: Array, low: Array, high: Array) -> Array:
            start, end = span
            path = diffrax.VirtualBrownianTree(
                start, end, BROWNIAN_TOLERANCE * (end - start), shape[1:], key
            )
            return path.evaluate(low, high)

        return jax.vmap(increment)(self.keys, low, high)

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
        if not step.ndim:
            return self.draws[step, draw]
        return self.draws[step, draw, jnp.arange(shape[0])]

    def brownian(
        self, low: Array, high: Array, span: tuple[Array, Array], shape: tuple[int, ...]
    ) -> Array:
        raise ValueError("noise: recorded draws are not a Brownian path; adaptive steps need a key")


class Samples(NamedTuple):
    """What a run returns.

    Attributes:
      x: samples in the process's data range, (batch, *shape).
      nfe: network evaluations spent on each sample, int32 (batch,).
      depth: how many of them came one after another, int32 (batch,); fewer than nfe only where a
        solver evaluates several times of a sample at once.
      accepted: accepted steps of each sample, int32 (batch,).
      rejected: rejected steps of each sample, int32 (batch,).
      ok: whether each sample reached the end of the grid within the solver's budget, bool (batch,).
      path: states along the way on the host, (frames, batch, *shape), the last one the result; None
        unless asked for.
    """

    x: Float[Array, "b *shape"]
    nfe: Int[Array, " b"]
    depth: Int[Array, " b"]
    accepted: Int[Array, " b"]
    rejected: Int[Array, " b"]
    ok: Array
    path: np.ndarray | None


def _ends(
    process: Process, num_steps: int, t_start: float | None, t_end: float | None
) -> tuple[float, float]:
    """The first and last time of a grid, by default t_max and t_min."""
    if num_steps < 1:
        raise ValueError(f"num_steps: got {num_steps}, expected at least 1")
    t_start = process.t_max if t_start is None else t_start
    t_end = process.t_min if t_end is None else t_end
    if not 0 <= t_end < t_start <= process.t_max:
        raise ValueError(
            f"t_end, t_start: got {t_end}, {t_start}, expected 0 <= t_end < t_start <= t_max "
            f"= {process.t_max}"
        )
    return t_start, t_end


def _power_grid(
    process: Process, num_steps: int, shape: Callable[[Array], Array], t_start, t_end
) -> Node:
    """Times t_end + (t_start - t_end) shape(u), u falling from 1 to 0."""
    t_start, t_end = _ends(process, num_steps, t_start, t_end)
    u = jnp.linspace(1.0, 0.0, num_steps + 1)
    return process.node(t_end + (t_start - t_end) * shape(u))


def uniform_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """num_steps + 1 nodes, uniform in time from `t_start` (default t_max) to `t_end` (t_min)."""
    return _power_grid(process, num_steps, lambda u: u, t_start, t_end)


def quadratic_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """Times that grow as u^2, denser near the data (Song et al. 2021, "DDIM", app. D.2)."""
    return _power_grid(process, num_steps, jnp.square, t_start, t_end)


def cosine_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """Times that grow as 1 - cos(pi u / 2), denser near the data and even near the prior."""
    return _power_grid(process, num_steps, lambda u: 1 - jnp.cos(jnp.pi * u / 2), t_start, t_end)


# Noise over signal beyond which spacing in sigma / alpha means nothing; alpha may be 0 at t_start.
RATIO_LIMIT = 1e3


def _ratio_grid(
    process: Process,
    num_steps: int,
    space: tuple[Callable[[Array], Array], Callable[[Array], Array]],
    t_start: float | None,
    t_end: float | None,
) -> Node:
    """Even in space[0](sigma / alpha), whose inverse is space[1]; the ends are exact."""
    t_start, t_end = _ends(process, num_steps, t_start, t_end)
    if not float(process.sigma(jnp.float32(t_end))) > 0:
        raise ValueError(f"t_end: got {t_end}, where sigma is 0 and has no logarithm")
    there, back = space
    ends = process.node(jnp.array([t_start, t_end], jnp.float32))
    high, low = there(jnp.minimum(ends.sigma / ends.alpha, RATIO_LIMIT))
    ratio = back(jnp.linspace(high, low, num_steps + 1))
    t = process.time_of_log_snr(-2 * jnp.log(ratio))
    return process.node(t.at[0].set(t_start).at[-1].set(t_end))


def edm_grid(
    process: Process,
    num_steps: int,
    *,
    t_start: float | None = None,
    t_end: float | None = None,
    rho: float = 7.0,
) -> Node:
    """Even in (sigma / alpha)^(1 / rho) (Karras et al. 2022, eq. 5; its last, clean node apart)."""
    if rho <= 0:
        raise ValueError(f"rho: got {rho}, expected a positive number")
    space = (lambda s: s ** (1 / rho)), (lambda s: s**rho)
    return _ratio_grid(process, num_steps, space, t_start, t_end)


def log_snr_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """Even in log(alpha^2 / sigma^2) (Lu et al. 2022, "DPM-Solver", section 3.4)."""
    return _ratio_grid(process, num_steps, (jnp.log, jnp.exp), t_start, t_end)


def end_clean(grid: Node) -> Node:
    """The grid with one more step, to the clean node: t = 0, alpha = 1, sigma = 0."""
    return Node(*(jnp.append(f, end) for f, end in zip(grid, (0.0, 1.0, 0.0), strict=True)))


def published_grid(
    process: Process, num_steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Node:
    """The grid of Song et al.'s code: num_steps nodes from t_start to t_end, each starting a step.

    The last node is there twice: a step starts from it too. It belongs with the `faithful` choices
    of solvers, which take a step to be 1 / num_steps whatever the gap.
    """
    if num_steps < 2:
        raise ValueError(f"num_steps: got {num_steps}, expected at least 2")
    t_start, t_end = _ends(process, num_steps, t_start, t_end)
    t = jnp.linspace(t_start, t_end, num_steps)
    return process.node(jnp.append(t, t_end))


GRIDS: dict[str, Callable[..., Node]] = {
    "uniform": uniform_grid,
    "quadratic": quadratic_grid,
    "cosine": cosine_grid,
    "edm": edm_grid,
    "log_snr": log_snr_grid,
    "published": published_grid,
}


class Run(NamedTuple):
    """What all steps of a run share: a pytree, the arguments of `sample` after its checks."""

    predict: Predictor
    constraint: Any
    grid: Node
    noise: NoiseSource
    cond: Cond
    frame_times: Array

    def predict_at(self, x: Array, node: Node) -> Any:
        """The prediction under the run's conditioning."""
        return self.predict(x, node, self.cond)

    def constrain(self, x: Array, node: Node, step: Array) -> Array:
        """x after the constraint, if there is one, at the node just reached."""
        if self.constraint is None:
            return x
        return self.constraint(x, node, self.noise(step, CONSTRAINT_DRAW, x.shape))


class March(NamedTuple):
    """How far the samples of a run have come; every field has a leading batch axis.

    Attributes:
      x, x_mean: the states, and their means before the last noise, (batch, *shape).
      t: the times reached, (batch,).
      done: whether each sample is at its end, bool (batch,).
      nfe, depth, accepted, rejected: what each has spent, see `Samples`.
      lost: the time after which a sample was not finite, nan while it is, (batch,).
      state: the solver's own.
      frames: states at the times asked for, (batch, frames, *shape).
    """

    x: Array
    x_mean: Array
    t: Array
    done: Array
    nfe: Array
    depth: Array
    accepted: Array
    rejected: Array
    lost: Array
    state: Any
    frames: Array


@runtime_checkable
class Pacer(Protocol):
    """A solver that sets its own pace: adaptive steps, or many nodes at once.

    `budget(steps)` is the number of rounds after which a run over a grid of `steps` is given up;
    `begin` gives the solver's state; `advance` makes one round of the samples that are not done.
    """

    def validate(self, process: Process, grid: Node) -> None: ...

    def budget(self, steps: int) -> int: ...

    def begin(self, process: Process, run: Run, x: Array) -> Any: ...

    def advance(self, process: Process, run: Run, march: March, i: Array) -> March: ...


@dataclasses.dataclass(frozen=True)
class FixedSteps:
    """The pace of a plain solver: all samples from node i to node i + 1 of the grid in round i."""

    solver: Solver

    def validate(self, process: Process, grid: Node) -> None:
        self.solver.validate(process, grid)

    def budget(self, steps: int) -> int:
        return steps

    def begin(self, process: Process, run: Run, x: Array) -> Any:
        return self.solver.init(x)

    def advance(self, process: Process, run: Run, march: March, i: Array) -> March:
        batch, shape = march.x.shape[0], march.x.shape
        node, node_next = at(run.grid, i, batch), at(run.grid, i + 1, batch)
        draw = lambda k: run.noise(i, k, shape)  # noqa: E731
        step = self.solver.step(
            process, run.predict_at, march.x, node, node_next, march.state, draw
        )
        spent = self.solver.stages if step.evaluations is None else step.evaluations
        return march._replace(
            x=run.constrain(step.x, node_next, i),
            x_mean=step.x_mean,
            t=node_next.t,
            done=jnp.full(batch, i + 2 == run.grid.t.size),
            nfe=march.nfe + spent,
            depth=march.depth + spent,
            accepted=march.accepted + 1,
            state=step.state,
        )


def at(grid: Node, i: Array | int, batch: int) -> Node:
    """Node i of the grid with fields of shape (batch,)."""
    return Node(*(jnp.broadcast_to(field[i], (batch,)) for field in grid))


@functools.partial(jax.jit, static_argnames=("process", "pacer"))
def _begin(process: Process, pacer: Pacer, run: Run, x: Array) -> March:
    batch = x.shape[0]
    none = jnp.zeros(batch, jnp.int32)
    frames = jnp.zeros((batch, run.frame_times.size, *x.shape[1:]))
    return March(
        x=jnp.copy(x),  # buffers of their own, since the march is donated
        x_mean=jnp.copy(x),
        t=jnp.full(batch, run.grid.t[0]),
        done=jnp.zeros(batch, bool),
        nfe=none,
        depth=none,
        accepted=none,
        rejected=none,
        lost=jnp.full(batch, jnp.nan, jnp.float32),
        state=pacer.begin(process, run, x),
        frames=frames,
    )


@functools.partial(jax.jit, static_argnames=("process", "pacer"), donate_argnames=("march",))
def _run_chunk(
    process: Process, pacer: Pacer, run: Run, march: March, start: Array, stop: Array
) -> March:
    """Rounds start .. stop - 1 of the run. The bounds are traced: one program for all chunks."""

    def going(carry: tuple[Array, March]) -> Array:
        i, march = carry
        return (i < stop) & ~jnp.all(march.done)

    def one_round(carry: tuple[Array, March]) -> tuple[Array, March]:
        i, before = carry
        after = pacer.advance(process, run, before, i)
        lost = jnp.where(jnp.isnan(after.lost) & ~_finite(after.x), before.t, after.lost)
        return i + 1, after._replace(lost=lost, frames=_record(run, before, after))

    return jax.lax.while_loop(going, one_round, (start, march))[1]


def _record(run: Run, before: March, after: March) -> Array:
    """The frames with those filled in whose times were passed, on the line between the states."""
    if not run.frame_times.size:
        return after.frames
    target = run.frame_times
    gap = (before.t - after.t)[:, None]
    passed = (after.t[:, None] <= target) & (target < before.t[:, None])
    weight = jnp.where(passed, (before.t[:, None] - target) / jnp.where(gap > 0, gap, 1.0), 0.0)
    x = after.x[:, None]
    weight, passed = expand_right(weight, after.frames), expand_right(passed, after.frames)
    between = jnp.where(weight == 1, x, (1 - weight) * before.x[:, None] + weight * x)
    return jnp.where(passed, between, after.frames)


@jax.jit
def _denoise(predict: Predictor, x: Array, node: Node, cond: Cond) -> Array:
    """Tweedie's formula: E[x_0 | x_t] (Efron 2011; Song et al. 2021, app. G)."""
    return predict(x, node, cond).x_0


def _check_grid(grid: Node) -> int:
    """The number of steps; ValueError for an empty grid or times that do not fall."""
    t = np.asarray(grid.t)
    if t.ndim != 1 or t.size < 2:
        raise ValueError(f"grid: got times of shape {t.shape}, expected (steps + 1,) with a step")
    # The published grid repeats its last node, so the last gap may be zero. No time is nan.
    if not (np.all(np.diff(t[:-1]) < 0) and t[-1] <= t[-2]):
        raise ValueError(f"grid: times must fall from first to last, got {t}")
    return t.size - 1


def keys_for(key: Key[Array, ""], batch: int, first_index: int = 0) -> Key[Array, " b"]:
    """The key of each sample, by its index in the whole run."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first_index + jnp.arange(batch))


def sample(
    key: Key[Array, ""],
    process: Process,
    predict: Predictor,
    solver: Solver | Pacer,
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
      solver: a fixed-step solver visits every node of the grid; an adaptive one goes from its first
        node to its last by steps of its own.
      grid: begins at the prior; before t_max the prior is narrower, as `Process.prior_std_at` says.
      cond: conditioning with a leading batch axis, given to `predict` at each call.
      guidance: turns the predictor into a guided one.
      constraint: `constraint(x, node, noise)` after every step and after the final denoising.
      start: (x, node) to start from in place of the prior; the grid must begin at that node.
      denoise: "tweedie" ends with E[x_0 | x], one more evaluation; "mean" returns the mean of the
        last step before its noise, as the published samplers do; "none" returns the state. A grid
        that ends at the clean node needs none and gets none.
      noise: a source of noise in place of the key, for replaying a recorded run.
      first_index: index of the first sample, where a large run is drawn in several calls.
      frames: number of states along the way to return as `path`, at nodes spread over the grid.
      chunk: rounds between two calls of `progress`; default an eighth of the run with progress.
      progress: called as progress(steps done by the slowest sample, steps in all).
      sharding: of the batch axis, where the samples are spread over devices.

    Raises:
      ValueError: an unknown `denoise`, a grid that does not fall or does not begin at `start`, a
        solver that the process cannot serve.
      FloatingPointError: a sample is not finite; names it and the time at which that happened.

    A sample that spends the solver's budget before the end is returned as it is, with a warning and
    ok = False.
    """
    steps = _check_grid(grid)
    if denoise not in DENOISE_CHOICES:
        raise ValueError(f"denoise: got {denoise!r}, expected one of {DENOISE_CHOICES}")
    pacer = solver if isinstance(solver, Pacer) else FixedSteps(solver)
    pacer.validate(process, grid)
    predict, constraint = as_pytree(predict), as_pytree(constraint)
    if guidance is not None:
        predict = as_pytree(guidance(predict))
    if noise is None:
        keys = keys_for(key, shape[0], first_index)
        noise = KeyedNoise(keys if sharding is None else jax.device_put(keys, sharding))

    marks = np.linspace(0, steps, frames, dtype=int)
    frame_times = jnp.asarray(np.asarray(grid.t)[marks[1:-1]])
    run = Run(predict, constraint, grid, noise, cond, frame_times)
    x_start = _initial_state(process, grid, noise, shape, start)
    march = _begin(process, pacer, run, x_start)
    march = _run(process, pacer, run, march, steps, first_index, chunk, progress)
    _require_finite(march.lost, first_index)

    x, nfe, depth = march.x_mean if denoise == "mean" else march.x, march.nfe, march.depth
    noisy = float(grid.sigma[-1]) > 0
    if noisy and denoise == "tweedie":
        last = at(grid, steps, shape[0])
        x, nfe, depth = _denoise(predict, x, last, cond), nfe + 1, depth + 1
        _require_finite(jnp.where(_finite(x), jnp.nan, last.t), first_index)
    if constraint is not None and (denoise == "mean" or noisy and denoise == "tweedie"):
        clean = Node(*(jnp.full(shape[:1], value) for value in (0.0, 1.0, 0.0)))
        x = constraint(x, clean, noise(jnp.int32(steps), CONSTRAINT_DRAW, shape))
    path = None
    if frames:
        between = np.moveaxis(np.asarray(march.frames), 1, 0)
        path = np.concatenate([np.asarray(x_start)[None], between, np.asarray(x)[None]])[-frames:]
    return Samples(x, nfe, depth, march.accepted, march.rejected, march.done, path)


def _initial_state(
    process: Process,
    grid: Node,
    noise: NoiseSource,
    shape: tuple[int, ...],
    start: tuple[Array, Node] | None,
) -> Array:
    if start is None:
        return process.prior_std_at(grid.t[0]) * noise.initial(shape)
    x, node = start
    if x.shape != shape:
        raise ValueError(f"start: got a state of shape {x.shape}, expected {shape}")
    if not np.allclose(np.asarray(node.t), np.asarray(grid.t[0])):
        raise ValueError(f"start: its time is {node.t}, but the grid begins at {grid.t[0]}")
    return x


def _run(
    process: Process,
    pacer: Pacer,
    run: Run,
    march: March,
    steps: int,
    first_index: int,
    chunk: int | None,
    progress: Callable[[int, int], None] | None,
) -> March:
    """All rounds, returning to the host after every chunk of them."""
    budget = pacer.budget(steps)
    if chunk is None:
        chunk = max(1, steps // 8) if progress else budget
    for begin in range(0, budget, chunk):
        end = min(begin + chunk, budget)
        march = _run_chunk(process, pacer, run, march, jnp.int32(begin), jnp.int32(end))
        if progress is not None:
            done = bool(jnp.all(march.done))
            progress(steps if done else _steps_done(run.grid, march), steps)
        if (progress is not None or end < budget) and bool(jnp.all(march.done)):
            break
    if not bool(jnp.all(march.done)):
        left = np.flatnonzero(~np.asarray(march.done))
        warnings.warn(
            f"samples {(first_index + left).tolist()} did not reach the end in {budget} rounds, "
            f"the solver's max_steps; they are at t = {np.asarray(march.t)[left].tolist()}",
            stacklevel=3,
        )
    return march


def _steps_done(grid: Node, march: March) -> int:
    """The steps of the grid that the slowest sample has behind it."""
    slowest = float(jnp.max(jnp.where(march.done, -jnp.inf, march.t)))
    return int(np.searchsorted(-np.asarray(grid.t), -slowest, side="right")) - 1


def _finite(x: Array) -> Array:
    return jnp.all(jnp.isfinite(x.reshape(len(x), -1)), axis=1)


def _require_finite(lost: Array, first_index: int) -> None:
    """FloatingPointError if a sample was lost; nan for those that were not."""
    times = np.asarray(lost)
    bad = np.flatnonzero(~np.isnan(times))
    if bad.size:
        at_times = ", ".join(f"sample {first_index + i} at t = {times[i]:.4g}" for i in bad[:8])
        more = f" and {bad.size - 8} more" if bad.size > 8 else ""
        raise FloatingPointError(
            f"not finite: {at_times}{more}; the network's output there, or too long a step"
        )
