"""BERT against hidden states that transformers recorded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

from models.bert import Bert, mean_pooled
from models.importers.bert import network_of, params_from_transformers
from options.errors import InvalidValue
from tools.published.content import opened

TINY = {"vocabulary": 9, "width": 8, "num_layers": 1, "num_heads": 2, "hidden": 8, "places": 6}


@pytest.fixture(scope="module")
def theirs(golden):
    with opened(golden.path / "transformers_bert") as content:
        return content.beside["config.json"], dict(content.tree)


def test_hidden_states_are_those_recorded(golden, theirs):
    """At real tokens, and their means; the pooler alone is left out."""
    z = golden("transformers_bert/expected")
    network = network_of(theirs[0])
    params, left_out = params_from_transformers(theirs[1], network)
    assert left_out == ["pooler.dense.bias", "pooler.dense.weight"]
    ids, mask = (jnp.asarray(z[k], jnp.int32) for k in ("input_ids", "attention_mask"))
    hidden = quick_jit(network.apply)({"params": params}, ids, mask)
    allowed = 10 * float(z["max_abs_f32_vs_f64"])
    pooled, real = mean_pooled(hidden, mask), np.asarray(mask) > 0
    pairs = [(hidden[real], z["last_hidden_state"][real]), (pooled, z["mean_pooled"])]
    for ours, recorded in pairs:
        assert np.abs(ours - recorded).max() <= min(allowed, 1e-4 * np.abs(recorded).max())
    assert mask.min() == 0  # so that the mask is seen


def test_names_of_older_files_and_of_language_models(theirs):
    """gamma and beta, a prefix, a buffer and heads: the same parameters."""
    config, state = theirs
    older = {
        f"bert.{k}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): v
        for k, v in state.items()
    }
    older |= {
        "bert.embeddings.position_ids": np.arange(40)[None],
        "cls.predictions.bias": np.zeros(120),
    }
    network = network_of(config)
    params, left_out = params_from_transformers(older, network)
    assert "cls.predictions.bias" in left_out
    jax.tree.map(np.testing.assert_array_equal, params, params_from_transformers(state, network)[0])


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"encoder.layer.0.output.dense.weight": None}, "it lacks encoder.layer.0.output.dense.w"),
        ({"encoder.layer.7.output.dense.bias": np.zeros(48)}, "7.output.dense.bias is unknown"),
        ({"embeddings.LayerNorm.bias": np.zeros(3)}, r"LayerNorm.bias: got shape \(3,\) for norm"),
    ],
)
def test_every_tensor_is_accounted_for(change, expected, theirs):
    state = {k: v for k, v in (theirs[1] | change).items() if v is not None}
    with pytest.raises(InvalidValue, match=expected):
        params_from_transformers(state, network_of(theirs[0]))


@pytest.mark.parametrize(
    "change, expected",
    [
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type: got 'relative_key'",
        ),
        ({"model_type": "roberta"}, "model_type: got 'roberta', but ours has 'bert'"),
        ({"hidden_act": "silu"}, "activation: got 'silu', expected one of"),
        ({"num_attention_heads": 5}, "num_heads: got 5, expected a divisor of the width, 48"),
        ({"hidden_size": "48"}, "hidden_size: got '48', expected a value such as 768"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers: got 1000000, expected at most 256"),
    ],
)
def test_a_network_that_is_no_such_bert_is_refused(change, expected, theirs):
    with pytest.raises(InvalidValue, match=expected):
        network_of(theirs[0] | change)
    lacking = {k: v for k, v in theirs[0].items() if k != "layer_norm_eps"}
    with pytest.raises(InvalidValue, match="it lacks layer_norm_eps"):
        network_of(lacking)


def test_texts_that_are_too_long_and_those_without_tokens():
    network = Bert(**TINY)
    ids = jnp.ones((2, 4), jnp.int32)
    mask = jnp.array([[1, 1, 1, 0], [0, 0, 0, 0]])
    variables = random_parameters(network.init, jax.random.key(0), ids, mask)
    apply = quick_jit(network.apply)
    hidden = apply(variables, ids, mask)
    np.testing.assert_array_equal(mean_pooled(hidden, mask)[1], 0)
    # What stands in the padding, and how much there is, is not seen.
    other = apply(variables, jnp.where(mask > 0, ids, 5)[:, :3], mask[:, :3])
    np.testing.assert_allclose(hidden[0, :3], other[0], atol=1e-6)
    with pytest.raises(InvalidValue, match="text: got 7 tokens, expected at most 6"):
        apply(variables, jnp.ones((1, 7), jnp.int32), jnp.ones((1, 7), jnp.int32))
