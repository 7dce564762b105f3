"""How a network takes the noise level and conditions: three ways in, nulls, names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

from models.layers.attention import Tokens
from models.layers.conditioning import Embedding, Encoding, join
from options.errors import InvalidValue
from tasks.conditions import Augmentation, Caption, ClassLabel, LowResolution, Text

SHAPE, FEATURES = (4, 4, 1), jnp.ones((3, 4))
LABELS, AUGMENT, LOW = ClassLabel(10, 0.1), Augmentation(2), LowResolution(2)


def embedding(*conditions):
    return Embedding(6, jax.nn.silu, conditions)


def test_an_absent_condition_is_its_null():
    model = embedding(LABELS, AUGMENT)
    given = {"labels": jnp.full(3, 10), "augment": jnp.zeros((3, 2))}
    expected, params = model.init_with_output(jax.random.key(0), FEATURES, given, SHAPE, 3)
    found = model.apply(params, FEATURES, {}, SHAPE, 3)
    np.testing.assert_array_equal(found.embedding, expected.embedding)
    some = {"labels": jnp.array([10, 0, 1])}
    other = model.apply(params, FEATURES, some, SHAPE, 3).embedding
    assert np.array_equal(other[0], expected.embedding[0])
    assert not np.allclose(other[1:], expected.embedding[1:])


def test_parameters_are_under_the_names_of_the_conditions():
    model = embedding(LABELS, AUGMENT, LOW)
    cond = {"low": {"image": jnp.zeros((3, 2, 2, 1)), "level": jnp.zeros(3)}}
    params = model.init(jax.random.key(0), FEATURES, cond, SHAPE, 3)["params"]
    assert {name: list(layer) for name, layer in params.items()} == {
        "dense_0": ["kernel", "bias"],
        "dense_1": ["kernel", "bias"],
        "labels": ["embedding"],
        "augment": ["kernel"],
        "low": ["kernel"],
    }


def test_conditions_may_enter_before_the_dense_layers():
    """dense_1(act(dense_0(features + W augment))), W as wide as the features."""
    model = Embedding(6, jax.nn.silu, (AUGMENT,), in_features=True)
    given = {"augment": jnp.array([[1.0, 2.0]] * 3)}
    found, variables = model.init_with_output(jax.random.key(0), FEATURES, given, SHAPE, 3)
    params = variables["params"]
    assert params["augment"]["kernel"].shape == (2, 4)
    h = FEATURES + given["augment"] @ params["augment"]["kernel"]
    h = jax.nn.silu(h @ params["dense_0"]["kernel"] + params["dense_0"]["bias"])
    expected = h @ params["dense_1"]["kernel"] + params["dense_1"]["bias"]
    np.testing.assert_allclose(found.embedding, expected, rtol=1e-5, atol=1e-6)


def test_a_low_resolution_image_is_enlarged_among_the_channels():
    cond = {"low": {"image": jnp.ones((3, 2, 2, 1)), "level": jnp.array([0.0, 0.1, 0.2])}}
    found, _ = embedding(LOW).init_with_output(jax.random.key(0), FEATURES, cond, SHAPE, 3)
    np.testing.assert_allclose(found.channels, np.ones((3, 4, 4, 1)), rtol=1e-6)
    assert len(np.unique(np.round(found.embedding, 5), axis=0)) == 3
    with pytest.raises(InvalidValue, match="low: got no image, expected one"):
        embedding(LOW).init(jax.random.key(0), FEATURES, {}, SHAPE, 3)
    dropped = LowResolution(2, dropout=0.1)
    embedding(dropped).init(jax.random.key(0), FEATURES, {}, SHAPE, 3)


def test_encodings_join_by_each_way():
    one = Encoding(jnp.ones((2, 3)), jnp.ones((2, 4, 4, 1)), Tokens(jnp.ones((2, 5, 3))))
    mask = jnp.array([[1, 0], [0, 0]])
    two = Encoding(jnp.ones((2, 3)), None, Tokens(jnp.zeros((2, 2, 3)), mask))
    both = join([one, Encoding(), two])
    np.testing.assert_array_equal(both.embedding, 2 * np.ones((2, 3)))
    assert both.channels.shape == (2, 4, 4, 1) and both.tokens.values.shape == (2, 7, 3)
    real = np.concatenate([np.ones((2, 5)), mask], axis=1)
    np.testing.assert_array_equal(both.tokens.real, real == 1)
    assert join([one, one]).tokens.mask is None
    assert join([]) == Encoding()


def test_nothing_to_embed():
    found, _ = embedding().init_with_output(jax.random.key(0), None, {}, SHAPE, 3)
    assert found == Encoding()


def test_a_name_that_no_condition_has_is_refused():
    with pytest.raises(InvalidValue, match="cond: got 'label', .* did you mean 'labels'"):
        embedding(LABELS).init(jax.random.key(0), FEATURES, {"label": jnp.zeros(3)}, SHAPE, 3)


@pytest.mark.parametrize("condition", [Caption(features=5, pooled=True), Text("ab", pooled=True)])
def test_the_mean_of_a_caption_is_embedded_and_its_null_is_zero(condition):
    mask = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]]) > 0
    vectors = np.random.default_rng(0).normal(size=(3, 3, 5)).astype(np.float32)
    given = {"caption": {"vectors": vectors, "mask": mask}, "text": np.where(mask, 2, 0)}
    cond = {condition.name: jax.tree.map(jnp.asarray, given[condition.name])}
    first, variables = quick_jit(
        lambda cond: embedding(condition).init_with_output(jax.random.key(0), None, cond, SHAPE, 3)
    )(cond)
    assert not first.embedding.any()  # at first
    kernel = jnp.ones_like(variables["params"][condition.name]["pooled"]["kernel"])
    variables["params"][condition.name]["pooled"]["kernel"] = kernel
    found = embedding(condition).apply(variables, None, cond, SHAPE, 3)
    tokens = np.asarray(found.tokens.values)
    np.testing.assert_array_equal(found.tokens.real, mask)
    np.testing.assert_allclose(found.embedding[0], tokens[0, :2].mean(0) @ kernel, rtol=1e-4)
    np.testing.assert_allclose(found.embedding[1], tokens[1, 0] @ kernel, rtol=1e-4)
    assert not found.embedding[2].any()


def test_the_padding_of_a_text_changes_nothing():
    condition = Text("ab", layers=1)
    short, long = jnp.array([[1, 2]]), jnp.array([[1, 2, 0, 0]])
    model = embedding(condition)
    variables = random_parameters(
        lambda key: model.init(key, None, {"text": short}, SHAPE, 1), jax.random.key(0)
    )
    apply = quick_jit(lambda text: model.apply(variables, None, {"text": text}, SHAPE, 1))
    found, padded = apply(short), apply(long)
    np.testing.assert_allclose(
        padded.tokens.values[:, :2], found.tokens.values, rtol=1e-4, atol=1e-5
    )
