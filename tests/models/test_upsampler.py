"""The network of upsamplers: a U-Net of the picture and the enlarged one that it is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from models import DDPM, NCSNpp
from models.upsampler import LEVEL_DIM, Upsampler

TINY = {"nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": (), "num_classes": 3}
X = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
LOW = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
T, LABELS = jnp.array([10.0, 500.0]), jnp.array([0, 2])


def told(low=LOW, level=0.3):
    return {"low": low, "low_level": jnp.full(2, level), "labels": LABELS}


def test_without_weights_on_what_it_is_told_it_is_the_u_net():
    tiny = TINY | {"init_scale": 1.0, "dropout": 0.0, "progressive_input": "none", "fir": False}
    network = Upsampler(NCSNpp(**tiny, augment_dim=LEVEL_DIM, out_channels=3))
    params = quick_jit(network.init)(jax.random.key(2), X, T, **told())["params"]["unet"]
    apply = quick_jit(lambda p, **told: network.apply({"params": {"unet": p}}, X, T, **told))
    first = apply(params, **told())
    assert first.shape == X.shape and first.dtype == jnp.float32
    for other in (told(low=LOW + 0.1), told(level=0.4)):
        assert np.abs(apply(params, **other) - first).max() > 1e-4

    kernel, level = params["conv_in"]["kernel"], params["embedding"]["augment"]["kernel"]
    cut = jax.tree.map(lambda x: x, params)
    cut["conv_in"]["kernel"] = kernel.at[:, :, 3:].set(0)
    cut["embedding"]["augment"]["kernel"] = jnp.zeros_like(level)
    same = jax.tree.map(lambda x: x, cut)
    same["conv_in"]["kernel"] = kernel[:, :, :3]
    del same["embedding"]["augment"]
    plain = quick_jit(lambda p: NCSNpp(**tiny).apply({"params": p}, X, T, labels=LABELS))(same)
    np.testing.assert_allclose(apply(cut, **told()), plain, atol=1e-5)


@pytest.mark.parametrize("unet", [
    NCSNpp(**TINY, augment_dim=LEVEL_DIM + 9, out_channels=6, patch_size=2),
    DDPM(**TINY, augment_dim=LEVEL_DIM + 9, out_channels=6),
], ids=["patches", "ddpm"])  # fmt: skip
def test_an_augmentation_beside_the_level(unet):
    network = Upsampler(unet)
    given = told() | {"augment": jnp.ones((2, 9))}
    params = jax.eval_shape(network.init, jax.random.key(0), X, T, **given)
    for cond in (given, told()):  # without an augmentation it is zero
        made = jax.eval_shape(lambda p, c=cond: network.apply(p, X, T, **c), params)
        assert made.shape == (2, 8, 8, 6)


def test_sizes_are_the_u_nets_to_refuse():
    with pytest.raises(ValueError, match="ch_mult"):
        Upsampler(NCSNpp(**TINY | {"ch_mult": (1, 1)})).check(7, 7)
