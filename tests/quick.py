"""Compiling for a test: what runs once should compile fast."""

import functools
import os

import jax

OPTIONS = {"xla_backend_optimization_level": 0}
quick_jit = functools.partial(jax.jit, compiler_options=OPTIONS)


def compile_quickly(monkeypatch) -> None:
    """The same for programs that are lowered and compiled by hand, as the training step is."""
    compile_fully = jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered,
        "compile",
        lambda lowered, options=None: compile_fully(lowered, OPTIONS | (options or {})),
    )


def with_devices(count: int) -> dict[str, str]:
    """The environment of a program on as many simulated devices."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
