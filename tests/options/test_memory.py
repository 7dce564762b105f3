"""The largest batch that fits a device."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from options import memory
from options.errors import OutOfMemory


def needs(fixed, per_example, tried):
    """Compiled programs that need so many bytes, and so many more for each example."""

    def compile_for(size):
        tried.append(size)
        analysis = SimpleNamespace(
            argument_size_in_bytes=fixed,
            output_size_in_bytes=0,
            alias_size_in_bytes=0,
            temp_size_in_bytes=per_example * size,
            generated_code_size_in_bytes=0,
        )
        return SimpleNamespace(memory_analysis=lambda: analysis)

    return compile_for


@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("budget", [145, 300, 700, 739, 740, 10**6])
def test_a_batch_that_fits_is_found_by_few_programs(budget, step, monkeypatch):
    tried = []
    monkeypatch.setattr(memory, "device_memory", lambda: budget)
    found = memory.largest_batch(needs(100, 10, tried), 64, step, "sampling.batch_size")
    largest = min(64, (budget - 100) // 10 // step * step)
    assert found % step == 0 and largest / 2 <= found <= largest
    assert tried[0] == 64 and tried[-1] == found and len(tried) <= 4
    assert budget < 740 or tried == [64]


def test_where_nothing_fits_the_field_is_named(monkeypatch):
    monkeypatch.setattr(memory, "device_memory", lambda: 2**20)
    with pytest.raises(
        OutOfMemory, match="^eval.batch_size: a batch of 4 needs 2.00 MiB, a device"
    ):
        memory.largest_batch(needs(2**21, 0, []), 64, 4, "eval.batch_size")


OUT_OF_MEMORY = [
    "RESOURCE_EXHAUSTED: ran out of memory in space hbm",
    "INTERNAL: Error dispatching computation: Out of memory allocating 79188409104 bytes",
]


def test_the_memory_of_a_machine_that_is_no_linux(monkeypatch, tmp_path):
    whole = memory.device_memory(1.0)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert 2**26 < memory.device_memory(1.0) < 2**45 and whole < 4 * memory.device_memory(1.0)


def test_what_others_hold_on_an_accelerator_is_not_free(monkeypatch):
    """Of two devices of 1 MiB, the state of a training leaves 100 kB of one."""
    held = [0, int(0.9 * 2**20) - 100_000]
    devices = [
        SimpleNamespace(memory_stats=lambda n=n: {"bytes_limit": 2**20, "bytes_in_use": n})
        for n in held
    ]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    assert memory.device_memory() == int(0.9 * 2**20) and memory.occupied() == held[1]
    size = memory.largest_batch(needs(0, 1_000, []), 512, 1, "sampling.batch_size")
    assert size == 100


@pytest.mark.parametrize("said", OUT_OF_MEMORY)
def test_a_compiler_out_of_memory_is_no_fit(said, monkeypatch):
    monkeypatch.setattr(memory, "device_memory", lambda: 10**6)
    compile_for = needs(0, 1, [])

    def limited(size):
        if size > 8:
            raise jax.errors.JaxRuntimeError(said)
        return compile_for(size)

    assert memory.largest_batch(limited, 64, 1, "") == 8

    def broken(size):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        memory.largest_batch(broken, 64, 1, "")


def test_the_footprint_of_a_real_program():
    """x @ x of 512 x 512 floats: 1 MiB in, 1 MiB out."""
    x = jax.ShapeDtypeStruct((512, 512), jnp.float32)
    compiled = jax.jit(lambda x: x @ x).lower(x).compile()
    assert 2 * 2**20 <= memory.footprint(compiled) < 4 * 2**20


def test_the_memory_of_this_machine():
    whole = memory.device_memory(1.0)
    assert 2**26 < whole < 2**45
    assert memory.device_memory(0.5) == pytest.approx(0.5 * whole, rel=0.1)


@pytest.mark.parametrize("said", OUT_OF_MEMORY)
def test_a_device_out_of_memory_names_the_field_to_lower(said):
    but = "but the device is out of memory, expected a smaller number"
    with (
        pytest.raises(OutOfMemory, match=f"^eval.batch_size: got 8, {but}$"),
        memory.lowering("eval.batch_size", 8),
    ):
        raise jax.errors.JaxRuntimeError(said)


def test_another_fault_of_a_device_stays_one():
    with pytest.raises(jax.errors.JaxRuntimeError, match="no such"), memory.lowering("a", 1):
        raise jax.errors.JaxRuntimeError("INTERNAL: no such function")
