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
    choice = microbatch.choose(microbatch.Plan(64, None, "", budget), needs(10, tried))
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

    choice = microbatch.choose(microbatch.Plan(64, None, "", 10**6), limited)
    assert choice.size == 8 and "16 needs more than the compiler can place" in choice.reason

    def broken(size):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        microbatch.choose(microbatch.Plan(64, None, "", 10**6), broken)


def test_no_fit_is_an_error_with_the_figures():
    with pytest.raises(MemoryError, match=r"no microbatch fits .* 1 needs"):
        microbatch.choose(microbatch.Plan(8, None, "", 100), needs(10, []))
