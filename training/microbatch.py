"""Gradient accumulation, and the largest microbatch that fits a device.

The mean over b examples is the mean over the b / m microbatches of their means: the same gradient
from the memory of m examples, as long as each example's noise is keyed by its own index.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from options.errors import OutOfMemory

PyTree = Any


def mean_over_microbatches(
    f: Callable[[PyTree], PyTree], examples: PyTree, microbatch: int
) -> PyTree:
    """`f(examples)`, for an `f` that returns means over examples, `microbatch` examples at a time.

    examples: a pytree of arrays with a leading axis b, a multiple of `microbatch`.
    """
    b = len(jax.tree.leaves(examples)[0])
    assert b % microbatch == 0, f"microbatch {microbatch} does not divide {b}"
    if b == microbatch:
        return f(examples)
    count = b // microbatch
    parts = jax.tree.map(lambda x: x.reshape(count, microbatch, *x.shape[1:]), examples)
    mean = jax.eval_shape(f, jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), mean)
    total, _ = jax.lax.scan(
        lambda total, part: (jax.tree.map(jnp.add, total, f(part)), None), zeros, parts
    )
    return jax.tree.map(lambda x: x / count, total)


@dataclass(frozen=True)
class Choice:
    """A microbatch per device, the program compiled for it, and why it was chosen."""

    size: int
    program: Any
    reason: str


def choose(per_device: int, compile_for: Callable[[int], Any], budget: int) -> Choice:
    """The largest divisor of `per_device` whose compiled program fits in `budget` bytes.

    compile_for: microbatch -> `jax.stages.Compiled`. The whole batch is tried first, then the
    divisors by bisection, memory growing with the microbatch. Raises OutOfMemory if not even a
    microbatch of 1 fits.
    """
    sizes = [m for m in range(1, per_device + 1) if per_device % m == 0]
    tried: dict[int, int | None] = {}
    best: tuple[int, Any] | None = None
    low, high, middle = 0, len(sizes) - 1, len(sizes) - 1
    while low <= high:
        m = sizes[middle]
        program = _compile_if_it_fits(compile_for, m)
        tried[m] = footprint(program) if program else None
        if program and footprint(program) <= budget:
            best, low = (m, program), middle + 1
        else:
            high = middle - 1
        middle = (low + high) // 2
    needs = ", ".join(f"{m} needs {_size(tried[m])}" for m in sorted(tried, reverse=True))
    if best is None:
        raise OutOfMemory(
            "training.microbatch", but=f"none fits in the {_size(budget)} of a device: {needs}"
        )
    size, program = best
    reason = (
        f"microbatch {size} of {per_device} examples per device, the largest divisor that fits in "
        f"{_size(budget)} by XLA's memory analysis ({needs})"
    )
    return Choice(size, program, reason)


def _compile_if_it_fits(compile_for: Callable[[int], Any], size: int) -> Any:
    """The program, None if the compiler itself runs out of the device's memory (as on TPUs)."""
    try:
        return compile_for(size)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None


def footprint(compiled: Any) -> int:
    """Bytes that a compiled program needs on one device: arguments, results and scratch."""
    m = compiled.memory_analysis()
    live = m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
    return live + m.temp_size_in_bytes + m.generated_code_size_in_bytes


def device_memory(fraction: float = 0.9) -> int:
    """Bytes a program may use on one local device: `fraction` of what there is.

    An accelerator says so itself; simulated or real CPU devices share the memory that the system,
    or the control group this process runs in, has left.
    """
    limits = [(d.memory_stats() or {}).get("bytes_limit", 0) for d in jax.local_devices()]
    if all(limits):
        return int(fraction * min(limits))
    return int(fraction * _available_ram() / jax.local_device_count())


def _available_ram() -> int:
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = 1024 * int(meminfo["MemAvailable"].split()[0])
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return available
    return min(available, limit - used)


def _size(n: int | None) -> str:
    if n is None:
        return "more than the compiler can place"
    return f"{n / 2**30:.2f} GiB" if n >= 2**30 else f"{n / 2**20:.2f} MiB"
