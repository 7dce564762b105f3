"""Sampling: the protocol of solvers, sources of noise, and the one loop that every solver runs in.

A grid (`solvers.grids`) is a `Node` whose fields have shape (steps + 1,): noise levels from the
prior down. A solver moves a batch along it in rounds: `begin` makes what it remembers, `advance`
one round, until every sample is at the end or the solver's `budget` of rounds is spent. `sample()`
runs the rounds as one compiled program, dispatched in chunks so that progress shows between them.

Sequences of different lengths are padded, and `cond["mask"]` says which coordinates are real (see
`sde_lib.masked`). States, noise and predictions are 0 in the padding throughout, so that a padded
sample equals the unpadded one.
"""

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from options.choices import choose, require
from options.classes import ask
from options.errors import InvalidValue, NotFinite, Words
from options.progress import Pace, Progress
from parameterization import MASK, NO_COND, Cond, Prediction, Predictor, as_predictor, as_pytree
from sde_lib import Node, Process, expand_right, masked

# Tolerance of the virtual Brownian tree, relative to the interval of the run.
BROWNIAN_TOLERANCE = 2.0**-20
# Draws of a constraint are numbered after those of any solver in the same step.
CONSTRAINT_DRAW = 1 << 16


@runtime_checkable
class NoiseSource(Protocol):
    """A pytree that gives the standard normal draws of a run, each like x: (batch, *shape).

    `step` is () or, where samples are at different steps, (batch,). `draw` numbers the draws of a
    step; those of the constraint begin at CONSTRAINT_DRAW.
    """

    def validate(self, steps: int) -> None:
        """InvalidValue where there is no noise for a run of so many steps."""
        ...

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

    def validate(self, steps: int) -> None:
        pass

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


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["start", "draws", "control"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class ReplayedNoise:
    """Recorded noise, for replaying a run. A draw that was not recorded is refused.

    Attributes:
      start: the draw of the prior, (batch, *shape).
      draws: those of the solver, (steps, draws a step, batch, *shape).
      control: those of the constraint, likewise, with one step more for that after the final
        denoising; None where the run has no constraint.
    """

    start: Array
    draws: Array
    control: Array | None = None

    def validate(self, steps: int) -> None:
        recorded = [("draws", self.draws, steps)]
        if self.control is not None:
            recorded += [("control", self.control, steps + 1)]
        for name, draws, needed in recorded:
            got = Words(f"{name} of {len(draws)} steps")
            require(len(draws) >= needed, "noise", got, f"at least {needed}")

    def initial(self, shape: tuple[int, ...]) -> Array:
        return self.start

    def __call__(self, step: Array, draw: int, shape: tuple[int, ...]) -> Array:
        whose: str = "the solver"
        draws: Array | None = self.draws
        if draw >= CONSTRAINT_DRAW:
            whose, draws, draw = "the constraint", self.control, draw - CONSTRAINT_DRAW
        count = 0 if draws is None else draws.shape[1]
        if draws is None or draw >= count:
            raise InvalidValue(
                "noise", Words(f"{count} draws a step for {whose}"), f"more than {draw}"
            )
        # A step past the recorded ones, which only the program knows of, is nan: the run stops.
        index = (step, draw) if not step.ndim else (step, draw, jnp.arange(shape[0]))
        return draws.at[index].get(mode="fill", fill_value=jnp.nan)

    def brownian(
        self, low: Array, high: Array, span: tuple[Array, Array], shape: tuple[int, ...]
    ) -> Array:
        raise InvalidValue(
            "noise", but="recorded draws are not a Brownian path; adaptive steps need a key"
        )


class Samples(NamedTuple):
    """What a run returns.

    Attributes:
      x: samples in the process's data range, (batch, *shape); 0 in the padding.
      nfe: network evaluations spent on each sample, int32 (batch,).
      depth: how many of them came one after another, int32 (batch,); fewer than nfe only where a
        solver evaluates several times of a sample at once.
      accepted: accepted steps of each sample, int32 (batch,).
      rejected: rejected steps of each sample, int32 (batch,).
      ok: whether each sample reached the end of the grid within the solver's budget, bool (batch,).
      path: states along the way on the host, (frames, batch, *shape), the last one the result; None
        unless asked for.
      aux: what the last evaluation of the predictor gave beside (x_0, eps), by name, leading batch
        axes; {} for nothing.
    """

    x: Float[Array, "b *shape"]
    nfe: Int[Array, " b"]
    depth: Int[Array, " b"]
    accepted: Int[Array, " b"]
    rejected: Int[Array, " b"]
    ok: Array
    path: np.ndarray | None
    aux: Mapping[str, Any] = {}


class RunContext(NamedTuple):
    """What all rounds of a run share: a pytree, the arguments of `sample` after its checks."""

    predict: Predictor
    constraint: Any
    grid: Node
    noise: NoiseSource
    cond: Cond
    frame_times: Array

    @property
    def mask(self) -> Array | None:
        """Which coordinates of padded samples are real; None without padding."""
        return self.cond.get(MASK)

    def predict_at(self, x: Array, node: Node) -> Prediction:
        """The prediction under the run's conditioning; x_0 and eps are 0 in the padding."""
        return self.predict(x, node, self.cond).masked(self.cond)

    def draw(self, step: Array, number: int, shape: tuple[int, ...]) -> Array:
        """Draw `number` of a step, like x."""
        return masked(self.noise(step, number, shape), self.mask)

    def brownian(self, low: Array, high: Array, shape: tuple[int, ...]) -> Array:
        """W(high) - W(low) of each sample's Brownian path, times (batch,), like x."""
        span = self.grid.t[-1], self.grid.t[0]
        return masked(self.noise.brownian(low, high, span, shape), self.mask)

    def constrain(self, x: Array, node: Node, step: Array, number: int = 0) -> Array:
        """x after the constraint, if there is one, at a node; `number` of the times in the step."""
        if self.constraint is None:
            return x
        noise = self.draw(step, CONSTRAINT_DRAW + number, x.shape)
        return masked(self.constraint(x, node, noise), self.mask)


class SamplerState(NamedTuple):
    """How far the samples of a run have come; every field has a leading batch axis.

    Attributes:
      x, x_mean: the states, and their means before the last noise, (batch, *shape).
      t: the times reached, (batch,).
      done: whether each sample is at its end, bool (batch,).
      nfe, depth, accepted, rejected: what each has spent, see `Samples`.
      lost: the time after which a sample was not finite, nan while it is, (batch,).
      state: the solver's own.
      aux: of the last evaluation, see `Samples`.
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
    aux: Mapping[str, Any]
    frames: Array


@runtime_checkable
class Solver(Protocol):
    """Moves a batch over a grid, in rounds. Frozen, hashable, without parameters.

    One that cannot take every process and grid also has `validate(process, grid)`, which raises
    InvalidValue before anything is compiled.

    `solvers.fixed_step.FixedStep` is the base of solvers that visit every node of the grid, and
    `solvers.adaptive.Adaptive` of those that choose each sample's steps.
    """

    def budget(self, steps: int) -> int:
        """The number of rounds after which a run over a grid of `steps` steps is stopped."""
        ...

    def begin(self, process: Process, run: RunContext, x: Array) -> Any:
        """The solver's own state before the first round, a pytree with leading batch axes."""
        ...

    def advance(
        self, process: Process, run: RunContext, state: SamplerState, i: Array
    ) -> SamplerState:
        """Round i of the samples that are not done."""
        ...


def at(grid: Node, i: Array | int, batch: int) -> Node:
    """Node i of the grid with fields of shape (batch,)."""
    return Node(*(jnp.broadcast_to(field[i], (batch,)) for field in grid))


def select(condition: Array, new: Any, old: Any) -> Any:
    """Per sample, the leaves of `new` where the condition (batch,) holds."""
    return jax.tree.map(lambda a, b: jnp.where(expand_right(condition, a), a, b), new, old)


def latest(active: Array, new: Mapping[str, Any], old: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `aux` of a state after an evaluation of the active samples; the first sets its shape."""
    return select(active, new, old) if old else new


@functools.partial(jax.jit, static_argnames=("process", "solver"))
def _begin(process: Process, solver: Solver, run: RunContext, x: Array) -> SamplerState:
    batch = x.shape[0]
    none = jnp.zeros(batch, jnp.int32)
    frames = jnp.zeros((batch, run.frame_times.size, *x.shape[1:]))
    state = SamplerState(
        x=jnp.copy(x),  # buffers of their own, since the state is donated
        x_mean=jnp.copy(x),
        t=jnp.full(batch, run.grid.t[0]),
        done=jnp.zeros(batch, bool),
        nfe=none,
        depth=none,
        accepted=none,
        rejected=none,
        lost=jnp.full(batch, jnp.nan, jnp.float32),
        state=solver.begin(process, run, x),
        aux={},
        frames=frames,
    )
    if not jax.eval_shape(run.predict_at, x, at(run.grid, 0, batch)).aux:
        return state
    # The loop needs to know the shapes of what the solver will put there.
    after = jax.eval_shape(lambda: solver.advance(process, run, state, jnp.int32(0)))
    return state._replace(aux=jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), after.aux))


def lower(
    process: Process, solver: Solver, run: RunContext, shape: tuple[int, ...]
) -> jax.stages.Lowered:
    """The rounds of a run of samples of a shape, (batch, *shape), as `sample` compiles them."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    state = jax.eval_shape(functools.partial(_begin, process, solver), run, x)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    return _run_chunk.lower(process, solver, run, state, number, number)


@functools.partial(jax.jit, static_argnames=("process", "solver"), donate_argnames=("state",))
def _run_chunk(
    process: Process,
    solver: Solver,
    run: RunContext,
    state: SamplerState,
    start: Array,
    stop: Array,
) -> SamplerState:
    """Rounds start .. stop - 1 of the run. The bounds are traced: one program for all chunks."""

    def going(carry: tuple[Array, SamplerState]) -> Array:
        i, state = carry
        return (i < stop) & ~jnp.all(state.done)

    def one_round(carry: tuple[Array, SamplerState]) -> tuple[Array, SamplerState]:
        i, before = carry
        after = solver.advance(process, run, before, i)
        lost = jnp.where(jnp.isnan(after.lost) & ~_finite(after.x), before.t, after.lost)
        return i + 1, after._replace(lost=lost, frames=_record(run, before, after))

    return jax.lax.while_loop(going, one_round, (start, state))[1]


def _record(run: RunContext, before: SamplerState, after: SamplerState) -> Array:
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
def _expected_data(run: RunContext, x: Array, node: Node) -> tuple[Array, Mapping[str, Any]]:
    """Tweedie's formula, E[x_0 | x_t] (Efron 2011; Song et al. 2021, app. G), and its aux."""
    found = run.predict_at(x, node)
    return found.x_0, found.aux or {}


def _as_it_is(run: RunContext, state: SamplerState, first_index: int) -> SamplerState:
    return state


def _by_tweedie(run: RunContext, state: SamplerState, first_index: int) -> SamplerState:
    """E[x_0 | x], constrained; a state at the clean node as it is."""
    if not float(run.grid.sigma[-1]) > 0:
        return state
    last = at(run.grid, run.grid.t.size - 1, len(state.x))
    x, aux = _expected_data(run, state.x, last)
    _require_finite(jnp.where(_finite(x), jnp.nan, last.t), first_index)
    spent = {"nfe": state.nfe + 1, "depth": state.depth + 1}
    return _constrained(run, state._replace(x=x, aux=aux, **spent))


def _by_mean(run: RunContext, state: SamplerState, first_index: int) -> SamplerState:
    """The mean of the last step before its noise, constrained."""
    return _constrained(run, state._replace(x=state.x_mean))


def _constrained(run: RunContext, state: SamplerState) -> SamplerState:
    """Of data without noise."""
    clean = Node(*(jnp.full(len(state.x), value) for value in (0.0, 1.0, 0.0)))
    return state._replace(x=run.constrain(state.x, clean, jnp.int32(run.grid.t.size - 1)))


# How a run ends: (run, last state, index of its first sample) -> the state that is returned.
Finish = Callable[[RunContext, SamplerState, int], SamplerState]
DENOISE_CHOICES: dict[str, Finish] = {
    "tweedie": _by_tweedie,
    "mean": _by_mean,
    "none": _as_it_is,
}


def _check_grid(grid: Node) -> int:
    """The number of steps; InvalidValue for an empty grid or times that do not fall."""
    t = np.asarray(grid.t)
    shaped = t.ndim == 1 and t.size >= 2
    got = Words(f"times of shape {t.shape}")
    require(shaped, "grid", got, "(steps + 1,) with at least one step")
    # The published grid repeats its last node, so the last gap may be zero. No time is nan.
    falls = np.all(np.diff(t[:-1]) < 0) and t[-1] <= t[-2]
    require(falls, "grid", Words(f"times {t}"), "times that fall from first to last")
    return t.size - 1


def keys_for(key: Key[Array, ""], batch: int, first_index: int = 0) -> Key[Array, " b"]:
    """The key of each sample, by its index in the whole run."""
    return keys_of(key, first_index + jnp.arange(batch))


def keys_of(key: Key[Array, ""], indices: Int[Array, " b"]) -> Key[Array, " b"]:
    """The keys of samples by their indices in the whole run, in any order."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, indices)


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
    progress: Progress | None = None,
    sharding: jax.sharding.NamedSharding | None = None,
) -> Samples:
    """Draws `shape[0]` samples of shape `shape[1:]` by `solver` over `grid`.

    Args:
      key: a typed key. Sample i of the run depends on it and `first_index + i` alone.
      predict: what estimates (x_0, eps); a pytree, so its parameters are not compiled in.
      solver: a fixed-step solver visits every node of the grid; an adaptive one goes from its first
        node to its last by steps of its own.
      grid: begins at the prior; before t_max the prior is narrower, as `Process.prior_std_at` says.
      cond: conditioning with a leading batch axis, given to `predict` at each call. Its entry
        "mask" marks the real coordinates of padded samples, see `sde_lib.masked`.
      guidance: turns the predictor into a guided one.
      constraint: `constraint(x, node, noise)` after every step and after the final denoising.
      start: (x, node) to start from in place of the prior; the grid must begin at that node.
      denoise: "tweedie" ends with E[x_0 | x], one more evaluation; "mean" returns the mean of the
        last step before its noise, as the published samplers do; "none" returns the state. A grid
        that ends at the clean node needs none and gets none.
      noise: a source of noise in place of the key, for replaying a recorded run.
      first_index: index of the first sample, where a large run is drawn in several calls.
      frames: number of states along the way to return as `path`, at nodes spread over the grid.
      chunk: rounds between two calls of `progress`; default those that take about a second.
      progress: called as progress(steps done by the slowest sample, steps in all), first with 0
        when the rounds are compiled.
      sharding: of the batch axis, where the samples are spread over devices; their number must
        divide the batch. Parameters are copied to all.

    Raises:
      InvalidValue: no predictor, an unknown `denoise`, a grid that does not fall or does not begin
        at `start`, a solver that the process cannot serve, recorded noise that does not last.
      NotFinite: a sample is not finite; names it and the time at which that happened.

    A sample that spends the solver's budget before the end is returned as it is, with a warning and
    ok = False.
    """
    steps = _check_grid(grid)
    finish = choose(DENOISE_CHOICES, denoise, "denoise")
    ask(solver, "validate", process, grid)
    predict, constraint = as_predictor(predict), as_pytree(constraint)
    if guidance is not None:
        predict = as_predictor(guidance(predict), "guidance")
    noise = KeyedNoise(keys_for(key, shape[0], first_index)) if noise is None else noise
    noise.validate(steps)
    if sharding is not None:
        parts = (predict, constraint, noise, dict(cond), start)
        predict, constraint, noise, cond, start = _spread(parts, shape[0], sharding)

    marks = np.linspace(0, steps, frames, dtype=int)
    frame_times = jnp.asarray(np.asarray(grid.t)[marks[1:-1]])
    run = RunContext(predict, constraint, grid, noise, cond, frame_times)
    x_start = masked(_initial_state(process, grid, noise, shape, start), run.mask)
    state = _begin(process, solver, run, x_start)
    rounds = _Rounds(solver.budget(steps), steps, chunk, progress)
    state = rounds.run(process, solver, run, state, first_index)
    _require_finite(state.lost, first_index)
    state = finish(run, state, first_index)

    path = None
    if frames:
        between = np.moveaxis(np.asarray(state.frames), 1, 0)
        ends = np.asarray(x_start)[None], np.asarray(state.x)[None]
        path = np.concatenate([ends[0], between, ends[1]])[-frames:]
    counts = state.nfe, state.depth, state.accepted, state.rejected
    return Samples(state.x, *counts, ok=state.done, path=path, aux=state.aux)


def _spread(tree: Any, batch: int, sharding: jax.sharding.NamedSharding) -> Any:
    """The arrays of a run on all devices: split where the first axis is the batch, else whole."""
    whole = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())

    def place(leaf: Any) -> Array:
        leaf = jnp.asarray(leaf)
        return jax.device_put(leaf, sharding if leaf.shape[:1] == (batch,) else whole)

    return jax.tree.map(place, tree)


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
    got = Words(f"a state of shape {x.shape}")
    require(x.shape == shape, "start", got, f"shape {shape}")
    begins = np.allclose(np.asarray(node.t), np.asarray(grid.t[0]))
    got = Words(f"a state at t = {node.t}")
    require(begins, "start", got, f"the time at which the grid begins, {grid.t[0]}")
    return x


class _Rounds(NamedTuple):
    """The rounds of a run, returning to the host after every chunk of them."""

    budget: int
    steps: int
    chunk: int | None
    progress: Progress | None

    def run(
        self,
        process: Process,
        solver: Solver,
        run: RunContext,
        state: SamplerState,
        first_index: int,
    ) -> SamplerState:
        """All rounds; a warning for samples that are not at the end after them."""
        end, pace = 0, Pace()
        if self.progress is not None:  # no rounds: the program is compiled
            state = _run_chunk(process, solver, run, state, jnp.int32(0), jnp.int32(0))
            self.progress(0, self.steps)
        while end < self.budget:
            begin, began = end, time.perf_counter()
            chunk = self.chunk or (pace.rounds if self.progress else self.budget)
            end = min(begin + chunk, self.budget)
            state = _run_chunk(process, solver, run, state, jnp.int32(begin), jnp.int32(end))
            if self.progress is not None:
                done = bool(jnp.all(state.done))
                pace.took(time.perf_counter() - began)
                self.progress(self.steps if done else _steps_done(run.grid, state), self.steps)
            if (self.progress is not None or end < self.budget) and bool(jnp.all(state.done)):
                break
        if not bool(jnp.all(state.done)):
            left = np.flatnonzero(~np.asarray(state.done))
            warnings.warn(
                f"samples {(first_index + left).tolist()} did not reach the end in {self.budget} "
                f"rounds, the solver's max_steps; they are at t = "
                f"{np.asarray(state.t)[left].tolist()}",
                stacklevel=3,
            )
        return state


def _steps_done(grid: Node, state: SamplerState) -> int:
    """The steps of the grid that the slowest sample has behind it."""
    slowest = float(jnp.max(jnp.where(state.done, -jnp.inf, state.t)))
    return int(np.searchsorted(-np.asarray(grid.t), -slowest, side="right")) - 1


def _finite(x: Array) -> Array:
    return jnp.all(jnp.isfinite(x.reshape(len(x), -1)), axis=1)


def _require_finite(lost: Array, first_index: int) -> None:
    """NotFinite if a sample was lost; nan for those that were not."""
    times = np.asarray(lost)
    bad = np.flatnonzero(~np.isnan(times))
    if bad.size:
        samples = named_at(bad, times[bad], first_index)
        cause = "the network's output there, or too long a step"
        raise NotFinite("x", but=f"not finite: {samples}; {cause}")


def named_at(indices: np.ndarray, times: np.ndarray, first_index: int = 0) -> str:
    """Samples by their index and time, the first eight of them."""
    pairs = zip(first_index + indices[:8], times[:8], strict=True)
    more = f" and {len(indices) - 8} more" if len(indices) > 8 else ""
    return ", ".join(f"sample {i} at t = {t:.4g}" for i, t in pairs) + more
