"""Compiling for a test: what runs once should compile fast."""

import functools
import math
import os

import jax
import jax.numpy as jnp
import numpy as np

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


def random_parameters(init, *arguments, **named):
    """Parameters of the shapes of `init`, all of them at work, none of its initializers compiled.

    Compiling these takes several times as long as compiling the network. Kernels have variance 1
    over what they sum, scales are about 1, all else is about 0.
    """
    rng = np.random.default_rng(0)

    def drawn(path, leaf):
        noise = rng.standard_normal(leaf.shape)
        if leaf.ndim > 1:
            value = noise / math.sqrt(math.prod(leaf.shape[:-1]))
        else:
            value = 0.1 * noise + (getattr(path[-1], "key", "") == "scale")
        return jnp.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(drawn, jax.eval_shape(init, *arguments, **named))
