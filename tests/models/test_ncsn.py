"""NCSN and NCSNv2: their norm by its definition, what they are conditioned on, what they refuse."""

import gzip
import json
import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

from models import NCSN, NCSNpp, NCSNv2
from models.layers.refinement import InstanceNormPlus
from options.errors import InvalidValue
from parameterization import Level, Parameterization
from sde_lib import SMLDSchedule

SMALL = {"nf": 4, "ch_mult": (1, 2), "refine_mult": (1, 2), "dilations": (1, 2)}
DEEPER = {"ch_mult": (1, 2, 2, 4, 4), "refine_mult": (1, 1, 2, 2, 4), "dilations": (1, 1, 1, 2, 4)}
x = jax.random.normal(jax.random.key(0), (3, 8, 4, 3))
levels = jnp.array([0.0, 1.0, 2.0])


def shapes(model, size=32) -> dict:
    model.check(size, size)
    arguments = jax.random.key(0), jnp.zeros((1, size, size, 3)), jnp.zeros(1)
    return jax.eval_shape(model.init, *arguments)["params"]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("model, size, tree", [(NCSNv2(), 32, 10), (NCSNv2(**DEEPER), 128, 9)])
def test_parameters_have_the_shapes_of_the_original(golden, model, size, tree):
    """Of the JAX code of Song et al. 2021, 33,970,563 and 83,445,379 of them."""
    stored = json.loads(gzip.decompress((golden.path / NAMES).read_bytes()))["trees"][tree]

    def without_ones(shape):
        return tuple(n for n in shape if n != 1)

    ours = Counter(without_ones(leaf.shape) for leaf in jax.tree.leaves(shapes(model, size)))
    assert ours == Counter(without_ones(shape) for shape in stored.values())
    assert sum(n * math.prod(shape) for shape, n in ours.items()) in (33_970_563, 83_445_379)


NAMES = "legacy_flax_param_names.json.gz"


def test_ncsn_has_the_parameters_of_the_published_architecture():
    """Those of NCSNv2 of the same widths, a row of gamma, alpha and beta for each level in its
    norms, and such norms in the RefineNet too."""
    plain = sum(leaf.size for leaf in jax.tree.leaves(shapes(NCSNv2(refine_mult=(1, 1, 2, 2)))))
    # Widths of the norms in units of nf: of the levels and the last one; of adapting units, of
    # units at the end, before fusing and before pooling, from the coarsest block on.
    down = 4 + (1 + 1 + 2 + 2) + 4 * 2 + 4 * 2 + 1
    up = 4 * (2 + 4 + 4 + 2) + (2 * 2 + 2 * 2 + 2 * 1 + 6 * 1) + (4 + 4 + 2) + 2 * (2 + 2 + 1 + 1)
    expected = plain + 3 * 128 * (10 * (down + up) - down)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes(NCSN()))) == expected == 30_117_635


def test_the_norm_is_its_definition():
    gamma, alpha, beta = jax.random.normal(jax.random.key(3), (3, 2, 3))
    params = {"params": {"gamma": gamma, "alpha": alpha, "beta": beta}}
    level = jnp.array([0, 1, 1])
    got = InstanceNormPlus(2).apply(params, x, level)
    h = np.asarray(x, np.float64)
    mu, std = h.mean((1, 2)), np.sqrt(h.var((1, 2)) + 1e-5)
    across = (mu - mu.mean(1, keepdims=True)) / np.sqrt(mu.var(1, keepdims=True) + 1e-5)
    for i, row in enumerate(level):
        z = (h[i] - mu[i]) / std[i] + alpha[row] * across[i]
        np.testing.assert_allclose(got[i], gamma[row] * z + beta[row], atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", [NCSN(num_levels=3, **SMALL), NCSNv2(**SMALL)])
def test_an_image_depends_on_its_own_level_alone_and_v2_on_none(model):
    params = random_parameters(model.init, jax.random.key(1), x, levels)
    apply = quick_jit(model.apply)
    y = apply(params, x, levels)
    assert (y.shape, y.dtype) == (x.shape, jnp.float32)
    z = apply(params, x, jnp.array([2.0, 1.0, 2.0]))
    np.testing.assert_allclose(z[1:], y[1:], atol=1e-5)
    assert (float(jnp.abs(z[0] - y[0]).max()) > 1e-2) == (model.num_levels > 1)


@pytest.mark.slow
def test_every_parameter_is_used():
    for model in (NCSN(num_levels=3, **SMALL), NCSNv2(**SMALL)):
        params = random_parameters(model.init, jax.random.key(1), x, levels)
        loss = lambda p, model=model: jnp.sum(model.apply(p, x, levels) ** 3)  # noqa: E731
        gradient = quick_jit(jax.grad(loss))(params)
        assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("options, size, message", [
    ({"dilations": (1, 1, 2)}, 32, "dilations: got .1, 1, 2., expected 2 numbers"),
    ({"refine_mult": (1, 0)}, 32, "refine_mult"),
    (DEEPER, 33, r"ch_mult: .*multiples of \d, not 33 x 33"),
    ({"nonlinearity": "sine"}, 32, "nonlinearity: got 'sine'"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(options, size, message):
    with pytest.raises(InvalidValue, match=message):
        NCSNv2(**SMALL | options).check(size, size)


def test_the_number_of_levels_must_be_that_of_the_conditioning():
    Parameterization("score", Level(10)).check(NCSN(num_levels=10))
    with pytest.raises(InvalidValue, match="c_noise.num_levels: got 12, expected 10, as the netw"):
        Parameterization("score", Level(12)).check(NCSN(num_levels=10))
    with pytest.raises(InvalidValue, match="c_noise.*'level'"):
        Parameterization("score", "log_sigma").check(NCSN(num_levels=10))
    with pytest.raises(InvalidValue, match="c_noise.*embedding_type is 'positional'"):
        Parameterization("noise", Level(10)).check(NCSNpp(embedding_type="positional"))


def test_the_levels_of_ncsn_are_numbered_from_the_most_noise():
    process = SMLDSchedule(num_steps=10, sigma_min=0.01, sigma_max=1.0)
    node = process.node(process.times())
    np.testing.assert_allclose(Level(10)(node), np.arange(10)[::-1], atol=1e-6)
    np.testing.assert_allclose(node.sigma, np.geomspace(0.01, 1.0, 10), rtol=1e-5)
