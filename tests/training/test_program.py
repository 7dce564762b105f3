"""The options with which the training step is compiled."""

import contextlib

import jax
import jax.numpy as jnp
import pytest
from tiny_task import TinyLoader, TinyTask

from training import loop, program
from training.ema import EMA
from training.loop import TrainOptions
from training.optimizer import Optimizer


def test_the_option_for_gpus_is_one_that_xla_knows():
    options = program.compiler_options("gpu", True)
    assert float(jax.jit(lambda x: 2 * x, compiler_options=options)(1.5)) == 3.0
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        jax.jit(lambda x: 2 * x, compiler_options={"xla_gpu_deterministic": True})(1.5)


@pytest.mark.parametrize(
    "backend, deterministic, asked",
    [("gpu", True, True), ("gpu", False, False), ("cpu", True, False)],
)
def test_training_is_deterministic_where_it_is_asked(
    backend, deterministic, asked, tmp_path, monkeypatch
):
    seen, compile_ = [], jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered, "compile", lambda self, *args: seen.extend(args) or compile_(self)
    )
    monkeypatch.setattr(program.jax, "default_backend", lambda: backend)
    options = TrainOptions(
        steps=2, batch_size=8, deterministic=deterministic, microbatch=8, checkpoint_every=0,
        draw_every=0,
    )  # fmt: skip
    loop.fit(TinyTask(), TinyLoader(8), options, tmp_path)
    assert seen == [{"xla_gpu_deterministic_ops": True} if asked else {}]


def test_optimizer_and_average_have_names_in_profiles_that_change_nothing(monkeypatch):
    options = TrainOptions(optimizer=Optimizer(), ema=EMA())
    state = loop.new_state(TinyTask(), options)

    def lowered():
        update = lambda state: program.apply_gradient(  # noqa: E731
            options.optimizer, options.ema, state, state.params, {"loss": jnp.float32(0)}
        )
        return jax.jit(update).lower(state)

    with_names = lowered()
    named = with_names.as_text(debug_info=True)
    assert "/optimizer/sqrt" in named and "/average/sub" in named
    monkeypatch.setattr(jax, "named_scope", lambda name: contextlib.nullcontext())
    without = lowered()
    assert "/optimizer/sqrt" not in without.as_text(debug_info=True)
    assert with_names.as_text() == without.as_text()
