"""Blocks one after another, written out and as a loop."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

from models.layers.attention import AttentionBlock
from models.layers.residual import ResidualBlock
from models.layers.stage import Stage

block = partial(ResidualBlock, act=nn.silu, dropout=0.5, init_scale=1.0)
x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
embedding = jax.random.normal(jax.random.key(1), (2, 6))
skips = list(jax.random.normal(jax.random.key(2), (3, 2, 4, 4, 8)))
keys = jax.random.split(jax.random.key(3), 2)


def stage(**options) -> Stage:
    return Stage(8, 3, block, partial(AttentionBlock, init_scale=1.0), **options)


def initialise():
    return random_parameters(stage().init, jax.random.key(4), x, skips, embedding, keys)


def loss(layer: Stage, params, x):
    outputs = layer.apply(params, x, skips, embedding, keys)
    return sum(jnp.sum(h**2) for h in outputs), outputs


@pytest.mark.slow
@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    "options", [{"scan": True, "remat": True}, {"scan": True}, {"remat": True}]
)
def test_loop_and_rematerialisation_change_nothing(options):
    params = initialise()
    again = jax.eval_shape(stage(**options).init, jax.random.key(4), x, skips, embedding, keys)
    assert jax.tree.structure(again) == jax.tree.structure(params)

    def run(layer):
        function = jax.value_and_grad(partial(loss, layer), argnums=(0, 1), has_aux=True)
        return quick_jit(function)(params, x)

    a, b = run(stage()), run(stage(**options))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), a, b)


def test_a_loop_compiles_a_block_once():
    params = initialise()

    def convolutions(layer: Stage) -> int:
        text = jax.jit(partial(loss, layer)).lower(params, x).as_text()
        return text.count("stablehlo.convolution")

    assert convolutions(stage()) == 6 and convolutions(stage(scan=True)) == 2


def test_a_run_ends_where_a_shape_changes():
    wide = jax.random.normal(jax.random.key(5), (2, 4, 4, 5))
    layer = stage(scan=True)
    runs = lambda h, skips: layer._runs(h, skips)  # noqa: E731
    assert runs(x, skips) == [[0, 1, 2]]
    assert runs(wide, None) == [[0], [1, 2]]
    assert runs(x, [*skips[:2], wide]) == [[0, 1], [2]]
