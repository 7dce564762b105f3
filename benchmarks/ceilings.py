"""The most that a machine gives JAX: products of large matrices, and copies."""

import time
from collections.abc import Callable

from options.precision import PRECISIONS


def best_seconds(function: Callable[[], object], runs: int = 5) -> float:
    """The shortest time of a few runs."""
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def matrix_gflops(size: int = 2048, precision: str = "tf32", queued: int = 1) -> float:
    """The rate of products of two random square matrices in one of `PRECISIONS`.

    queued: products in a row, of which only the last is waited for.
    """
    import jax

    how = PRECISIONS[precision]
    keys = jax.random.split(jax.random.key(0))
    # Random: a product of zeros or ones takes less power, and may run faster for it.
    a, b = (jax.random.normal(key, (size, size), how.dtype) for key in keys)
    with how.context():
        product = jax.jit(jax.numpy.matmul)
        seconds = best_seconds(_in_a_row(lambda: product(a, b), queued))
    return 2 * size**3 * queued / 1e9 / seconds


def copy_gbytes(numbers: int, queued: int = 1) -> float:
    """GB/s read and written together, of an array of so many float32 numbers plus one."""
    import jax

    x = jax.random.normal(jax.random.key(0), (numbers,))
    add = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes * queued / 1e9 / best_seconds(_in_a_row(lambda: add(x), queued))


def _in_a_row(once: Callable[[], object], count: int) -> Callable[[], None]:
    """`once` dispatched so often, then waited for; it has run before, so nothing is compiled."""
    import jax

    def run() -> None:
        for _ in range(count - 1):
            once()
        jax.block_until_ready(once())

    run()
    return run
