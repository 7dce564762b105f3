"""Accumulation equals the whole batch; the choice of a microbatch is the largest that fits."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training import microbatch


@pytest.mark.parametrize("size", [1, 2, 3, 6, 12])
def test_the_mean_over_microbatches_is_the_mean(size):
    x = jnp.arange(24.0).reshape(12, 2)
    keys = jax.random.split(jax.random.key(0), 12)

    def f(examples):
        x, keys = examples
        noise = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
        return {"mean": jnp.mean(x * noise, axis=0), "loss": jnp.mean(x**2)}

    whole, parts = f((x, keys)), microbatch.mean_over_microbatches(f, (x, keys), size)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6), whole, parts)


def needs(bytes_per_example, tried):
    """Compiled programs that need 100 bytes and so much per example."""

    def compile_for(size):
        tried.append(size)
        analysis = SimpleNamespace(
            argument_size_in_bytes=60,
            output_size_in_bytes=50,
            alias_size_in_bytes=40,
            temp_size_in_bytes=bytes_per_example * size,
            generated_code_size_in_bytes=30,
        )
        return SimpleNamespace(memory_analysis=lambda: analysis, size=size)

    return compile_for


@pytest.mark.parametrize("budget", [110, 120, 130, 170, 260, 700, 739, 740, 10**6])
def test_the_largest_divisor_that_fits_is_chosen(budget):
    tried = []
    choice = microbatch.choose(64, needs(10, tried), budget)
    fitting = [m for m in (1, 2, 4, 8, 16, 32, 64) if 100 + 10 * m <= budget]
    assert choice.size == choice.program.size == max(fitting)
    assert tried[0] == 64 and len(tried) <= 4
    assert f"microbatch {choice.size} of 64 examples per device" in choice.reason


def test_a_compiler_out_of_memory_is_no_fit():
    compile_for = needs(10, [])

    def limited(size):
        if size > 8:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: ran out of memory in space hbm")
        return compile_for(size)

    choice = microbatch.choose(64, limited, 10**6)
    assert choice.size == 8 and "16 needs more than the compiler can place" in choice.reason

    def broken(size):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        microbatch.choose(64, broken, 10**6)


def test_no_fit_is_an_error_with_the_figures():
    with pytest.raises(MemoryError, match=r"training.microbatch: none fits .* 1 needs"):
        microbatch.choose(8, needs(10, []), 100)


def test_the_footprint_of_a_real_program():
    """x @ x of 512 x 512 floats: 1 MiB in, 1 MiB out."""
    x = jax.ShapeDtypeStruct((512, 512), jnp.float32)
    compiled = jax.jit(lambda x: x @ x).lower(x).compile()
    assert 2 * 2**20 <= microbatch.footprint(compiled) < 4 * 2**20


def test_the_memory_of_this_machine():
    whole = microbatch.device_memory(1.0)
    assert 2**26 < whole < 2**45
    assert microbatch.device_memory(0.5) == pytest.approx(0.5 * whole, rel=0.1)
