import jax
import jax.numpy as jnp
import pytest

from models import DDPM, NCSNpp
from models.sizes import required_divisor
from models.wide_resnet import WideResNet
from options.errors import InvalidValue

SMALL = {"ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": ()}


def test_required_divisor():
    assert required_divisor(num_levels=4) == 8
    assert required_divisor(num_levels=2, patch_size=2) == 4


@pytest.mark.parametrize(
    "field, options, size",
    [
        ("ch_mult", {}, (28, 28)),  # 28 / 8 is not whole
        ("ch_mult", {"ch_mult": (1, 2), "fir": True}, (30, 31)),
        ("ch_mult", {"ch_mult": (1, 2), "patch_size": 3}, (32, 32)),
        ("ch_mult", {"ch_mult": ()}, (32, 32)),
        ("ch_mult", {"ch_mult": (1, 0)}, (32, 32)),
        ("attn_resolutions", {"attn_resolutions": (16, 7)}, (32, 32)),
        ("attn_resolutions", {"patch_size": 2, "attn_resolutions": (32,)}, (32, 32)),
        ("resblock_type", {"resblock_type": "resnet"}, (32, 32)),
        ("progressive", {"progressive": "input_skip"}, (32, 32)),
        ("progressive_input", {"progressive_input": "output_skip"}, (32, 32)),
        ("progressive_combine", {"progressive_combine": "product"}, (32, 32)),
        ("embedding_type", {"embedding_type": "learned"}, (32, 32)),
        ("nonlinearity", {"nonlinearity": "gelu"}, (32, 32)),
        ("dtype", {"dtype": "float16"}, (32, 32)),
        ("nf", {"nf": 0}, (32, 32)),
        ("nf", {"nf": 3, "embedding_type": "positional"}, (32, 32)),
        ("num_res_blocks", {"num_res_blocks": 0}, (32, 32)),
        ("patch_size", {"patch_size": 0}, (32, 32)),
        ("conv_size", {"conv_size": -1}, (32, 32)),
        ("fir_kernel", {"fir_kernel": (1.0,)}, (32, 32)),
        ("fir_kernel", {"fir_kernel": (1.0, -1.0)}, (32, 32)),
        ("dropout", {"dropout": 1.0}, (32, 32)),
    ],
)
def test_what_cannot_do_is_refused_by_name(field, options, size):
    with pytest.raises(ValueError, match=f"^{field}: got"):
        NCSNpp(**options).check(*size)


def test_ddpm_refuses_too():
    DDPM().check(32, 32)
    for field, options in (
        ("attention_in_up", {"attention_in_up": "never"}),
        ("attn_resolutions", {"attn_resolutions": (15,)}),
        ("ch_mult", {"ch_mult": (1,) * 7}),
    ):
        with pytest.raises(ValueError, match=f"^{field}: got"):
            DDPM(**options).check(32, 32)


@pytest.mark.parametrize("network", [NCSNpp(nf=4, **SMALL), DDPM(nf=4, **SMALL), WideResNet()])
def test_channels_first_are_refused_in_one_line(network):
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)), jnp.ones(1))

    def apply(params, x):
        return network.apply(params, x, jnp.ones(1))

    jax.eval_shape(apply, params, jnp.zeros((1, 16, 16, 3)))
    with pytest.raises(
        InvalidValue, match=r"^x: got 16 channels in \(1, 3, 16, 16\), expected 3, in the"
    ):
        jax.eval_shape(apply, params, jnp.zeros((1, 3, 16, 16)))
