"""One loop of the training step, compiled as a loop only where that is fast."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


def scan(
    body: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]], carry: PyTree, xs: PyTree
) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan(body, carry, xs)`, written out step after step on the CPU.

    XLA's CPU backend turns the gradient of a convolution into its fast form only outside loops:
    inside one it was 50 times slower (jax 0.10.2, `benchmarks/`). A GPU or TPU gets the loop.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.scan(body, carry, xs)
    outputs = []
    for i in range(len(jax.tree.leaves(xs)[0])):
        carry, output = body(carry, jax.tree.map(lambda x, i=i: x[i], xs))
        outputs.append(output)
    return carry, jax.tree.map(lambda *parts: jnp.stack(parts), *outputs)
