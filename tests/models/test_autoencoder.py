"""The autoencoder of latent diffusion against what diffusers recorded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

from models.autoencoder import LEAST, MOST, AutoencoderKL
from models.importers import diffusers_autoencoder as layout
from options.errors import InvalidValue
from tools.published.content import opened

TINY = AutoencoderKL(channels=1, latent_channels=2, widths=(4, 8), num_res_blocks=1, groups=2)


@pytest.fixture(scope="module")
def theirs(golden):
    with opened(golden.path / "diffusers_autoencoder_kl") as content:
        return content.beside["config.json"], dict(content.tree)


def test_outputs_are_those_recorded(golden, theirs):
    config, state = theirs
    z = golden("diffusers_autoencoder_kl/expected")
    network = layout.network_of(config)
    params = layout.params_from_diffusers(state, network)
    x = jnp.moveaxis(jnp.asarray(z["x"]), 1, -1)

    @quick_jit
    def both(params, x):
        latents = network.apply({"params": params}, x, method="encode")
        return latents, network.apply({"params": params}, latents.mean, method="decode")

    latents, decoded = both(params, x)
    of_latents, of_images = (10 * float(error) for error in z["max_abs_f32_vs_f64"])
    for name, ours, allowed in (
        ("mean", latents.mean, of_latents),
        ("logvar", latents.logvar, of_latents),
        ("decoded_mean", decoded, of_images),
    ):
        error = np.abs(np.moveaxis(np.asarray(ours), -1, 1) - z[name]).max()
        assert error <= min(allowed, 1e-4 * np.abs(z[name]).max()), name


def test_every_parameter_has_a_name_of_its_own(theirs):
    config, state = theirs
    network = layout.network_of(config)
    ours = [layout.name_of(path, len(network.widths)) for path in layout.shapes_of(network)]
    assert sorted(ours) == sorted(state)
    older = {
        k.replace("to_q", "query").replace("to_out.0", "proj_attn"): v for k, v in state.items()
    }
    found, again = (layout.params_from_diffusers(s, network) for s in (state, older))
    jax.tree.map(np.testing.assert_array_equal, found, again)
    with pytest.raises(InvalidValue, match="it lacks quant_conv.weight"):
        lacking = {k: v for k, v in state.items() if k not in {"quant_conv.weight"}}
        layout.params_from_diffusers(lacking, network)


def test_without_the_convolutions_between_the_parts(theirs):
    """Neither, and each alone; the decoder sees the latents as they are."""
    config, state = theirs
    for quant, post in ((False, False), (True, False), (False, True)):
        options = {"use_quant_conv": quant, "use_post_quant_conv": post}
        network = layout.network_of(config | options)
        wanted = {"quant_conv": quant, "post_quant_conv": post}
        kept = {k: v for k, v in state.items() if wanted.get(k.partition(".")[0], True)}
        assert {*layout.params_from_diffusers(kept, network)} >= {
            n for n, is_ in wanted.items() if is_
        }
        with pytest.raises(InvalidValue, match="quant_conv.bias is unknown"):
            layout.params_from_diffusers(state, network)


@pytest.mark.slow
def test_a_convolution_that_is_the_identity_is_none():
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 1))
    variables = random_parameters(TINY.init, jax.random.key(0), x)
    plain = TINY.clone(quant=False, post_quant=False)
    parts = {k: variables["params"][k] for k in ("encoder", "decoder")}
    given = parts | {
        "quant_conv": {"kernel": jnp.eye(4), "bias": jnp.zeros(4)},
        "post_quant_conv": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)},
    }
    np.testing.assert_allclose(
        quick_jit(TINY.apply)({"params": given}, x), quick_jit(plain.apply)({"params": parts}, x)
    )
    far = parts | {
        "quant_conv": {"kernel": jnp.zeros((4, 4)), "bias": jnp.array([0, 0, 99.0, -99])}
    }
    logvar = TINY.apply({"params": given | far}, x, method="encode").logvar
    np.testing.assert_array_equal(logvar[0, 0, 0], [MOST, LEAST])


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"down_block_types": ["AttnDownEncoderBlock2D"] * 2}, "down_block_types: got"),
        ({"act_fn": "relu"}, "act_fn: got 'relu', but ours has 'silu'"),
        ({"norm_num_groups": 7}, "widths: got .32, 64., expected one or more multiples of 7"),
        ({"out_channels": 1}, "out_channels: got 1, expected as many as in_channels, 3"),
    ],
)
def test_what_ours_is_not_is_refused(change, expected, theirs):
    with pytest.raises(InvalidValue, match=expected):
        layout.network_of(theirs[0] | change)
    with pytest.raises(InvalidValue, match="sides are multiples of 2, not 5 x 4"):
        TINY.check(5, 4)
    assert layout.scaling_of({"scaling_factor": 0.5, "shift_factor": 0.1}) == ((0.1,), (2.0,))
    own = {"latents_mean": [0.1, 0.2], "latents_std": [1, 3], "scaling_factor": 0.5}
    assert layout.scaling_of(own) == ((0.1, 0.2), (2.0, 6.0))
