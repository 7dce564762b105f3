"""Gradient accumulation, and the largest microbatch that fits a device.

The mean over b examples is the mean over the b / m microbatches of their means: the same gradient
from the memory of m examples, as long as each example's noise is keyed by its own index.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from options.errors import OutOfMemory
from options.memory import compile_if_it_fits, footprint, in_words

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
class Plan:
    """How the examples of a device are differentiated.

    per_device: how many it has. size: the microbatch; None for the largest divisor of them whose
    program needs at most `budget` bytes. why: the reason for `size`, for the logs.
    """

    per_device: int
    size: int | None
    why: str
    budget: int

    @property
    def reason(self) -> str:
        return f"microbatch {self.size} of {self.per_device} examples per device, {self.why}"


@dataclass(frozen=True)
class Choice:
    """A microbatch per device, the program compiled for it, and why it was chosen."""

    size: int
    program: Any
    reason: str


def choose(plan: Plan, compile_for: Callable[[int], Any]) -> Choice:
    """The largest divisor of a device's examples whose compiled program fits in the budget.

    compile_for: microbatch -> `jax.stages.Compiled`. The whole batch is tried first, then the
    divisors by bisection, memory growing with the microbatch. Raises OutOfMemory if not even a
    microbatch of 1 fits.
    """
    per_device, budget = plan.per_device, plan.budget
    sizes = [m for m in range(1, per_device + 1) if per_device % m == 0]
    tried: dict[int, int | None] = {}
    best: tuple[int, Any] | None = None
    low, high, middle = 0, len(sizes) - 1, len(sizes) - 1
    while low <= high:
        m = sizes[middle]
        program = compile_if_it_fits(compile_for, m)
        tried[m] = footprint(program) if program else None
        if program and footprint(program) <= budget:
            best, low = (m, program), middle + 1
        else:
            high = middle - 1
        middle = (low + high) // 2
    needs = ", ".join(f"{m} needs {in_words(tried[m])}" for m in sorted(tried, reverse=True))
    if best is None:
        but = f"no microbatch fits in the {in_words(budget)} of a device: {needs}"
        raise OutOfMemory("training.microbatch", but=but)
    size, program = best
    reason = (
        f"microbatch {size} of {per_device} examples per device, the largest divisor that fits in "
        f"{in_words(budget)} by XLA's memory analysis ({needs})"
    )
    return Choice(size, program, reason)
