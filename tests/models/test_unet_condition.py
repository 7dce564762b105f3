"""The U-Net of latent diffusion: what diffusers recorded, and as a network like any."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

import sampling
from controllable.classifier_free import classifier_free
from experiment import kinds
from models.importers import diffusers_unet_condition as layout
from models.unet_condition import UNetCondition
from options.errors import InvalidValue
from parameterization import Parameterization
from sde_lib import VPSDE
from solvers import DDIM
from solvers.grids import uniform_grid
from tasks.conditions import Caption, ClassLabel
from tasks.image import ImageTask
from tasks.task import Context
from tools.published.content import opened

CONDITIONS = (Caption(features=6, dropout=0.5), ClassLabel(3, dropout=0.1))
TINY = UNetCondition(
    widths=(8, 16),
    num_res_blocks=1,
    attention_levels=(1,),
    num_heads=(1, 2),
    groups=4,
    conditions=CONDITIONS,
)
TASK = ImageTask(VPSDE(), Parameterization(), TINY, (4, 4, 1), CONDITIONS)


@pytest.fixture(scope="module")
def theirs(golden):
    with opened(golden.path / "diffusers_unet_condition") as content:
        return content.beside["config.json"], dict(content.tree)


@pytest.fixture(scope="module")
def params():
    """Not as they begin, where the output is zero."""
    found = jax.eval_shape(TASK.init, jax.random.key(0))
    leaves, structure = jax.tree.flatten(found)
    rng = np.random.default_rng(0)
    return structure.unflatten(
        [jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype) for x in leaves]
    )


def captions(count: int = 2, length: int = 3) -> dict:
    rng = np.random.default_rng(1)
    vectors = jnp.asarray(rng.normal(size=(count, length, 6)), jnp.float32)
    return {"vectors": vectors, "mask": jnp.ones((count, length), bool)}


def test_outputs_are_those_recorded(golden, theirs):
    config, state = theirs
    z = golden("diffusers_unet_condition/expected")
    fields = layout.fields_of(config)
    network = UNetCondition(**fields, conditions=(Caption(layout.features_of(config)),))
    network.check(16, 16)
    params = layout.params_from_diffusers(state, network, (16, 16, 4))
    vectors = jnp.asarray(z["encoder_hidden_states"])
    caption = {"vectors": vectors, "mask": jnp.ones(vectors.shape[:2], bool)}
    x, t = jnp.moveaxis(jnp.asarray(z["x"]), 1, -1), jnp.asarray(z["t"], jnp.float32)
    out = quick_jit(network.apply)({"params": params}, x, t, caption=caption)
    error = np.abs(np.moveaxis(np.asarray(out), -1, 1) - z["out"]).max()
    allowed = min(10 * float(z["max_abs_f32_vs_f64"]), 1e-4 * np.abs(z["out"]).max())
    assert error <= allowed


def test_every_parameter_has_a_name_of_its_own(theirs):
    config, state = theirs
    condition = Caption(layout.features_of(config))
    network = UNetCondition(**layout.fields_of(config), conditions=(condition,))
    shapes = layout.shapes_of(network, (1, 16, 16, 4), network.conditions)
    assert sorted(layout.name_of(path, 2) for path in shapes) == sorted(state)
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    for change, expected in (
        ({name: np.zeros((64, 9))}, r"to_k.weight: got shape \(64, 9\)"),
        ({"time_embedding.cond_proj.weight": np.zeros(3)}, "cond_proj.weight is unknown"),
    ):
        with pytest.raises(InvalidValue, match=expected):
            layout.params_from_diffusers(state | change, network, (16, 16, 4))


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"class_embed_type": "timestep"}, "class_embed_type: got 'timestep', but ours, unet_"),
        ({"addition_embed_type": "text_time"}, "addition_embed_type: got 'text_time'"),
        ({"down_block_types": ["DownBlock2D", "AttnDownBlock2D"]}, "down_block_types: got"),
        ({"up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]}, "up_block_types: got"),
        ({"transformer_layers_per_block": [1, 2]}, r"transformer_layers_per_block: got \[1, 2\]"),
        ({"out_channels": 8}, "out_channels: got 8, expected as many as in_channels, 4"),
        ({"cross_attention_dim": [24, 24]}, "cross_attention_dim: got"),
    ],
)
def test_what_ours_is_not_is_refused(change, expected, theirs):
    with pytest.raises(InvalidValue, match=expected):
        layout.fields_of(theirs[0] | change)


@pytest.mark.slow
def test_published_configurations():
    """Heads by level, and linear projections, which are the same layers."""
    given = {"attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
    fields = layout.fields_of(given | {"cross_attention_dim": 1024, "sample_size": 64})
    assert fields["num_heads"] == (5, 10, 20, 20) and fields["attention_levels"] == (0, 1, 2)
    # That of Stable Diffusion 1, by its defaults, has 859,520,964 parameters.
    network = UNetCondition(conditions=(Caption(features=768),))
    network.check(64, 64)
    shapes = layout.shapes_of(network, (1, 64, 64, 4), network.conditions)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 859_520_964


@pytest.mark.parametrize(
    "change, size, expected",
    [
        ({"widths": (8, 18)}, 4, r"widths: got \(8, 18\), expected one or more multiples of 4"),
        ({"num_heads": (1, 3)}, 4, "num_heads: got .1, 3., expected a divisor of each"),
        ({"num_heads": (1,)}, 4, "num_heads: got .1,., expected a divisor of each"),
        ({"attention_levels": (2,)}, 4, "attention_levels: got .2,., expected levels from 0 to 1"),
        ({}, 5, "widths: got 2 levels, but they need images whose sides are multiples of 2"),
        ({"epsilon": 0.0}, 4, "epsilon: got 0.0, expected a positive number"),
        ({"depth": 0}, 4, "depth: got 0"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_compiled(change, size, expected):
    with pytest.raises(InvalidValue, match=expected):
        TINY.clone(**change).check(size, 4)


@pytest.mark.slow
def test_a_step_of_training_reaches_every_parameter(params):
    """Both conditions are hidden from some of the examples; the null embedding of labels too."""
    batch = {"image": jnp.ones((8, 4, 4, 1)), "label": jnp.arange(8) % 3, "caption": captions(8)}
    keys = jax.random.split(jax.random.key(1), 8)
    gradient = quick_jit(jax.grad(lambda p: TASK.loss(Context(p), batch, keys)[0]))(params)
    still = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)
        if not np.any(np.asarray(leaf))
    ]
    assert still == []
    with pytest.raises(InvalidValue, match="conditions.caption: the data have no captions"):
        TASK.loss(Context(params), {k: v for k, v in batch.items() if k != "caption"}, keys)


def test_captions_are_seen_padding_is_not_and_one_alone_can_be_guided(params):
    predict = TASK.predictor(params)
    x = jax.random.normal(jax.random.key(2), (2, 4, 4, 1))
    node = VPSDE().node(jnp.full(2, 0.5))
    evaluate = quick_jit(lambda p, cond: p(x, node, cond).eps)
    cond = {"caption": captions(), "labels": jnp.array([0, 1])}
    given = evaluate(predict, cond)
    null = jax.tree.map(jnp.zeros_like, cond["caption"])
    without = evaluate(predict, cond | {"caption": null})
    assert np.abs(given - without).max() > 1e-3
    padded = {
        "vectors": jnp.pad(cond["caption"]["vectors"], ((0, 0), (0, 2), (0, 0)), constant_values=9),
        "mask": jnp.pad(cond["caption"]["mask"], ((0, 0), (0, 2))),
    }
    np.testing.assert_allclose(evaluate(predict, cond | {"caption": padded}), given, atol=1e-5)
    guided = classifier_free({"caption": 3.0}, CONDITIONS)(predict)
    np.testing.assert_allclose(evaluate(guided, cond), without + 3 * (given - without), atol=1e-4)


@pytest.mark.slow
def test_it_is_sampled_like_any(params):
    guided = classifier_free({"caption": 2.0}, CONDITIONS)(TASK.predictor(params))
    cond = {"caption": captions(), "labels": jnp.array([0, 1])}
    grid = uniform_grid(VPSDE(), 2)
    shape = (2, 4, 4, 1)
    drawn = sampling.sample(jax.random.key(3), VPSDE(), guided, DDIM(), grid, shape, cond=cond)
    assert np.isfinite(drawn.x).all() and (drawn.nfe >= 2).all()


def test_an_experiment_chooses_it_by_its_name():
    chosen = {
        "model": "unet_condition",
        "model.widths": (8, 16),
        "model.num_heads": (1, 2),
        "model.attention_levels": (1,),
        "model.groups": 4,
        "conditions.caption.features": 6,
        "conditions.caption.dropout": 0.1,
    }
    experiment = kinds.open_experiment("configs/digits/vp.py", chosen)
    experiment.check_all(1)
    names = [condition.name for condition in experiment.network.conditions]
    assert sorted(names) == ["caption", "labels"] and experiment.network.widths == (8, 16)
