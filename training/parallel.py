"""One training step over all devices of all hosts, mapped in three ways.

Each device d of N computes the gradient g_d of the mean loss of its part of the global batch;
the step uses

    g = (1 / N) sum_d g_d                                                              (1)

Noise is keyed by the step and by the example's index in the global batch,

    key(s, i) = fold_in(fold_in(key, s), i)                                            (2)

so the ways below, any number of devices and any accumulation follow the same trajectory.

    shard_map   state replicated, the whole per-device step mapped; (1) is an all-reduce
    pmap        the same step, mapped by jax.pmap
    fsdp        parameters, their average and the optimizer's moments each split over devices;
                parameters are gathered for the gradient, (1) is a reduce-scatter
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.stages import Lowered
from jaxtyping import Array, Int, Key, UInt32

from options.choices import require
from tasks.task import Context

PyTree = Any
AXIS = "data"
AUTO = "auto"


class State(NamedTuple):
    """All that a training step changes, and what it reads beside the batch.

    step: int32 scalar, the updates done. params, ema: float32 pytrees alike. opt_state: optax's.
    key: uint32 key data (a plain array, so that it is stored and sharded like the rest).
    frozen: the task's, which no step changes.
    """

    step: jax.Array
    params: PyTree
    opt_state: PyTree
    ema: PyTree
    key: jax.Array
    frozen: PyTree = ()

    @property
    def context(self) -> Context:
        """What a loss reads of it."""
        return Context(self.params, self.ema, self.step, self.frozen)


# (context, batch, keys) -> (gradient, summaries), means over the examples given.
Gradient = Callable[[Context, PyTree, jax.Array], tuple[PyTree, PyTree]]
# (state, gradient, summaries) -> (state, summaries)
Update = Callable[[State, PyTree, PyTree], tuple[State, PyTree]]


@dataclass(frozen=True)
class Cluster:
    """The processes of a run, each of which has one of these.

    Attributes:
      coordinator: host:port of process 0; "" for one process alone, "auto" where JAX finds this and
        the next two by itself (a TPU pod, SLURM).
      num_processes, process_id: how many there are, and the number of this one.
      heartbeat_seconds: after how long without a sign of life a process counts as dead.
    """

    coordinator: str = ""
    num_processes: int = 0
    process_id: int = 0
    heartbeat_seconds: int = 100

    def join(self) -> None:
        """Takes part in the run. Call before using JAX."""
        start = partial(
            jax.distributed.initialize, heartbeat_timeout_seconds=self.heartbeat_seconds
        )
        if self.coordinator == AUTO:
            start()
        elif self.coordinator:
            holds = 0 <= self.process_id < self.num_processes
            expected = f"0 <= id < {self.num_processes}"
            require(holds, "process_id", self.process_id, expected)
            start(self.coordinator, self.num_processes, self.process_id)


def make_mesh() -> Mesh:
    """All devices of all hosts on one axis, those of a process next to each other.

    The order is ours rather than `jax.make_mesh`'s, which may permute devices: process h has to
    own the h-th block of the global batch, since that is the block which its loader reads.
    """
    devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def example_keys(
    key: UInt32[Array, " words"], step: Int[Array, ""] | int, count: int
) -> Key[Array, " count"]:
    """Equation (2) for the `count` examples of this device; called inside the named axis."""
    first = jax.lax.axis_index(AXIS) * count
    step_key = jax.random.fold_in(jax.random.wrap_key_data(key), step)
    return jax.vmap(lambda i: jax.random.fold_in(step_key, i))(first + jnp.arange(count))


def device_step(gradient: Gradient, update: Update, state: State, batch: PyTree):
    """The training step as one device of the named axis sees it: the state and its own examples."""
    grads, summaries = device_gradient(gradient, state, batch)
    grads, summaries = jax.lax.pmean((grads, summaries), AXIS)
    return update(state, grads, summaries)


def device_gradient(gradient: Gradient, state: State, batch: PyTree):
    """g_d and the summaries of this device's examples."""
    count = len(jax.tree.leaves(batch)[0])
    return gradient(state.context, batch, example_keys(state.key, state.step, count))


@runtime_checkable
class Parallelism(Protocol):
    """A way of mapping the step over the devices of a mesh."""

    def sharding(self, tree: PyTree) -> PyTree:
        """Where each leaf of (a part of) the state lives."""
        ...

    def put(self, batches: PyTree) -> PyTree:
        """Global arrays from host-local batches, leading axes (steps, batch / processes)."""
        ...

    def lower(self, gradient: Gradient, update: Update, state: State, batches: PyTree) -> Lowered:
        """The chunk of steps (state, batches) -> (state, summaries), ready to be compiled.

        `batches` come from `put`; summaries get a leading (steps,). The state is donated.
        """
        ...


@dataclass(frozen=True)
class ShardMap:
    """The per-device step under `jax.shard_map`, the state replicated.

    Replication is not checked (check_vma=False): the gradient is taken of the device's own loss
    and averaged once, by hand. With the check on, autodiff itself sums the gradient of replicated
    parameters over devices, for every microbatch, and a further mean leaves it N times too large.
    """

    mesh: Mesh

    def sharding(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda _: NamedSharding(self.mesh, P()), tree)

    def put(self, batches: PyTree) -> PyTree:
        return _put_global(self.mesh, batches)

    def lower(self, gradient: Gradient, update: Update, state: State, batches: PyTree) -> Lowered:
        mapped = jax.shard_map(
            _chunk(partial(device_step, gradient, update)),
            mesh=self.mesh,
            in_specs=(P(), P(None, AXIS)),
            out_specs=(P(), P()),
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=0).lower(state, batches)


@dataclass(frozen=True)
class Pmap:
    """The per-device step under `jax.pmap`; the state is passed whole, so it is the same state."""

    mesh: Mesh

    def sharding(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda _: NamedSharding(self.mesh, P()), tree)

    def put(self, batches: PyTree) -> PyTree:
        n = jax.local_device_count()
        split = jax.tree.map(lambda x: x.reshape(len(x), n, -1, *x.shape[2:]), batches)
        return _put_global(self.mesh, split)

    def lower(self, gradient: Gradient, update: Update, state: State, batches: PyTree) -> Lowered:
        mapped = jax.pmap(
            _chunk(partial(device_step, gradient, update)),
            axis_name=AXIS,
            in_axes=(None, 1),
            out_axes=(None, None),
            devices=list(self.mesh.devices.flat),
            donate_argnums=0,
        )
        # It is lowered for this host's devices; once compiled it takes the global arrays.
        n = jax.local_device_count()
        local = jax.tree.map(lambda x: np.zeros((len(x), n, *x.shape[2:]), x.dtype), batches)
        return mapped.lower(state, local)


@dataclass(frozen=True)
class FSDP:
    """The state split over devices; the update runs on the shards, under jit.

    Of the six copies of the parameters that Adam and the average need, four are split (parameters,
    average, two moments); the gathered parameters and the gradient are whole while a step lasts,
    as are the average and what is frozen where the loss reads them.
    Leaves of fewer than `smallest` elements stay whole: gathering them costs more than they do.
    """

    mesh: Mesh
    smallest: int = 1024

    def sharding(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: NamedSharding(self.mesh, self._spec(x)), tree)

    def put(self, batches: PyTree) -> PyTree:
        return _put_global(self.mesh, batches)

    def lower(self, gradient: Gradient, update: Update, state: State, batches: PyTree) -> Lowered:
        specs = jax.tree.map(self._spec, state._replace(opt_state=()))

        def sharded_gradient(state, batch):
            whole = jax.tree.map(_gather, state, specs)
            grads, summaries = device_gradient(gradient, whole, batch)
            grads = jax.tree.map(_reduce, grads, specs.params)
            return grads, jax.lax.pmean(summaries, AXIS)

        mapped = jax.shard_map(
            sharded_gradient,
            mesh=self.mesh,
            in_specs=(specs, P(AXIS)),
            out_specs=(specs.params, P()),
            check_vma=False,
        )

        def step(state, batch):
            return update(state, *mapped(state._replace(opt_state=()), batch))

        shardings = (self.sharding(state), NamedSharding(self.mesh, P()))
        jitted = jax.jit(_chunk(step), donate_argnums=0, out_shardings=shardings)
        return jitted.lower(state, batches)

    def _spec(self, x: Any) -> P:
        """Split the longest dimension that the devices divide; leave a leaf with none whole."""
        n = self.mesh.size
        sizes = [size if size % n == 0 else 0 for size in np.shape(x)]
        if n == 1 or not any(sizes) or np.prod(np.shape(x)) < self.smallest:
            return P()
        axis = int(np.argmax(sizes))
        return P(*[AXIS if i == axis else None for i in range(len(sizes))])


STRATEGIES: dict[str, Callable[[Mesh], Parallelism]] = {
    "shard_map": ShardMap,
    "pmap": Pmap,
    "fsdp": FSDP,
}


def _chunk(step: Callable[[State, PyTree], tuple[State, PyTree]]) -> Callable[..., Any]:
    """Steps one after another, over the leading axis of the batches."""
    return lambda state, batches: jax.lax.scan(step, state, batches)


def _gather(shard: jax.Array, spec: P) -> jax.Array:
    """The whole of a parameter from its shards."""
    if AXIS not in spec:
        return shard
    return jax.lax.all_gather(shard, AXIS, axis=spec.index(AXIS), tiled=True)


def _reduce(grad: jax.Array, spec: P) -> jax.Array:
    """Equation (1), of which each device keeps its shard."""
    if AXIS not in spec:
        return jax.lax.pmean(grad, AXIS)
    axis = spec.index(AXIS)
    total = jax.lax.psum_scatter(grad, AXIS, scatter_dimension=axis, tiled=True)
    return total / jax.lax.axis_size(AXIS)


def _put_global(mesh: Mesh, batches: PyTree) -> PyTree:
    """Global arrays, split along their second axis, from the blocks that each process holds."""
    sharding = NamedSharding(mesh, P(None, AXIS))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batches)


def place(tree: PyTree, shardings: PyTree) -> PyTree:
    """A copy of a host or device tree under `shardings`, safe to donate.

    (`jax.device_put` may alias its source, which a donation would then delete.)
    """
    host = jax.tree.map(np.asarray, tree)
    return jax.jit(lambda t: jax.tree.map(jnp.copy, t), out_shardings=shardings)(host)


def to_host(tree: PyTree) -> PyTree:
    """The whole tree as numpy arrays on every process; collective when shards live elsewhere."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return jax.tree.map(np.asarray, multihost_utils.process_allgather(tree, tiled=True))


def averaged(state: State) -> Context:
    """What plots and measurements are of: the averaged parameters in the place of the trained ones,
    and what is frozen, on the host; collective when shards live elsewhere."""
    ema, frozen = to_host((state.ema, state.frozen))
    return Context(ema, ema, int(state.step), frozen)


def largest(value: int) -> int:
    """The largest of the processes' values; collective."""
    if jax.process_count() == 1:
        return value
    return int(np.max(multihost_utils.process_allgather(np.array(value))))
