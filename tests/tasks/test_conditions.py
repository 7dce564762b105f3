"""Conditions: each draws, drops and is null by itself, and a new one is a class and no more."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import quick_jit, random_parameters

from controllable.classifier_free import classifier_free
from models import DDPM, NCSNpp
from models.layers.attention import Tokens
from models.layers.conditioning import Encoding
from options.errors import InvalidValue
from parameterization import MASK, Parameterization
from sampling import sample
from sde_lib import VPSDE
from solvers import DDIM
from solvers.grids import uniform_grid
from tasks import conditions
from tasks.conditions import (
    Augmentation,
    ClassLabel,
    Condition,
    LowResolution,
    draw,
    example,
    find,
    require_dropout,
    unconditional,
    with_dropout,
)
from tasks.image import ImageTask
from tasks.task import Context, Task

KEYS = jax.random.split(jax.random.key(0), 20_000)


class VectorToTokens(nn.Module):
    """Two tokens of a vector, of which the second is padding unless the vector is positive."""

    width: int

    @nn.compact
    def __call__(self, value, shape):
        values = nn.Dense(2 * self.width)(value).reshape(len(value), 2, self.width)
        real = jnp.stack([jnp.ones(len(value), bool), value[:, 0] > 0], axis=1)
        return Encoding(tokens=Tokens(values, real))


@dataclasses.dataclass(frozen=True)
class Style:
    """A vector by cross-attention."""

    size: int = 3
    dropout: float = 0.2
    name: str = "style"

    def example(self, shape):
        return jnp.zeros((1, self.size))

    def draw(self, batch, keys):
        return with_dropout(self, batch["style"], keys)

    def null(self, value):
        return jnp.zeros_like(value)

    def encoder(self, width, dtype):
        return VectorToTokens(width)


class Sketched(nn.Module):
    @nn.compact
    def __call__(self, value, shape):
        return Encoding(channels=nn.Dense(2)(value))


@dataclasses.dataclass(frozen=True)
class Sketch:
    """An image of one channel by concatenation."""

    dropout: float = 0.4
    name: str = "sketch"

    def example(self, shape):
        return jnp.zeros((1, *shape[:2], 1))

    def draw(self, batch, keys):
        edges = jnp.abs(batch["image"] - jnp.roll(batch["image"], 1, 2)).mean(-1, keepdims=True)
        return with_dropout(self, edges, keys)

    def null(self, value):
        return jnp.full_like(value, -1.0)

    def encoder(self, width, dtype):
        return Sketched()


SHAPE = (4, 8, 3)
OWN = (ClassLabel(3, 0.1), Style(), Sketch())
TINY = {"nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": (), "init_scale": 1.0}


def batch_of(n):
    keys = jax.random.split(jax.random.key(1), 2)
    style = jax.random.normal(keys[1], (n, 3))
    image = 0.1 * jax.random.normal(keys[0], (n, *SHAPE)) + 0.5 * style[:, None, None]
    return {"image": image, "label": jnp.arange(n) % 3, "style": style}


@pytest.mark.slow  # docs/extending.md trains one in the fast suite
@pytest.mark.parametrize("cls", [NCSNpp, DDPM])
def test_conditions_of_ones_own_train_and_guide_without_an_edit_elsewhere(cls):
    options = {k: v for k, v in TINY.items() if hasattr(cls, k)}
    network = cls(**options, conditions=OWN)
    task = ImageTask(VPSDE(), Parameterization("v", "log_sigma"), network, SHAPE, OWN)
    if cls is DDPM:
        task = dataclasses.replace(task, parameterization=Parameterization("v", "time"))
    assert isinstance(task, Task) and all(isinstance(c, Condition) for c in OWN)
    batch, optimizer = batch_of(16), optax.adam(3e-3)

    @quick_jit
    def step(params, state, key):
        def loss(params):
            return task.loss(Context(params), batch, jax.random.split(key, 16))[0]

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, value, grads

    params = random_parameters(task.init, jax.random.key(2))
    names = {"labels", "style", "sketch"}
    assert names <= set(params["embedding"]) and "cross" in params["middle_attention"]
    state, before = optimizer.init(params), step(params, optimizer.init(params), KEYS[0])[2]
    for number in range(10):
        params, state, _, grads = step(params, state, jax.random.key(number))
    assert step(params, state, KEYS[0])[2] < before
    assert all(np.any(jax.tree.leaves(grads["embedding"][name])[0]) for name in names)

    cond = draw(tuple(dataclasses.replace(c, dropout=0.0) for c in OWN), batch, KEYS[:16])
    model = task.predictor(params)
    predict = quick_jit(lambda x, node, cond: model(x, node, cond))
    node = task.process.node(jnp.full(16, 0.5))
    x = jax.random.normal(jax.random.key(3), batch["image"].shape)
    guided = classifier_free({"style": 3.0, ("labels", "sketch"): 0.5}, OWN)(model)
    found = quick_jit(lambda x, node, cond: guided(x, node, cond))(x, node, cond)
    without = predict(x, node, unconditional(cond, OWN))
    style = predict(x, node, unconditional(cond, OWN, ("labels", "sketch")))
    expected = without.eps + 3 * (style.eps - without.eps)
    expected += 0.5 * (predict(x, node, cond).eps - style.eps)
    np.testing.assert_allclose(found.eps, expected, atol=1e-4)
    assert float(jnp.abs(style.eps - without.eps).max()) > 1e-4

    made = sample(
        jax.random.key(4), task.process, model, DDIM(), uniform_grid(task.process, 3),
        (16, *SHAPE), cond=cond, guidance=classifier_free(2.0, OWN),
    )  # fmt: skip
    assert bool(jnp.isfinite(made.x).all())


def test_an_example_is_dropped_at_the_rate_by_its_own_key():
    labels = {"label": jnp.full(20_000, 3)}
    drawn = ClassLabel(10, 0.1).draw(labels, KEYS)
    assert set(np.unique(drawn)) == {3, 10}
    assert float(jnp.mean(drawn == 10)) == pytest.approx(0.1, abs=0.01)
    part = ClassLabel(10, 0.1).draw({"label": jnp.full(50, 3)}, KEYS[100:150])
    np.testing.assert_array_equal(part, drawn[100:150])


def test_conditions_are_dropped_independently():
    """Each has keys of its own, which depend on its name and not on its place."""
    two = Style(dropout=0.5), Style(dropout=0.5, name="other")
    batch = {"style": jnp.ones((20_000, 3))}
    found = draw(two, batch, KEYS)
    first, second = (found[name][:, 0] == 0 for name in ("style", "other"))
    assert float(jnp.mean(first & second)) == pytest.approx(0.25, abs=0.015)
    turned = draw(two[::-1], batch, KEYS)
    jax.tree.map(np.testing.assert_array_equal, turned, found)


def test_a_low_resolution_image_is_dropped_whole():
    x = jnp.ones((20_000, 4, 4, 1))
    value = LowResolution(2, dropout=0.3).draw({"image": x}, KEYS)
    dropped = value["level"] == 1
    assert float(jnp.mean(dropped)) == pytest.approx(0.3, abs=0.015)
    assert not bool(value["image"][dropped].any()) and bool(value["image"][~dropped].all())


def test_an_image_that_was_not_augmented_has_a_vector_of_zeros():
    np.testing.assert_array_equal(Augmentation(2).draw({}, KEYS[:3]), np.zeros((3, 2)))
    given = {"augment": jnp.ones((3, 2))}
    np.testing.assert_array_equal(Augmentation(2).draw(given, KEYS[:3]), np.ones((3, 2)))


def test_nulls_by_name_what_no_condition_has_is_left_out_and_a_mask_stays():
    conditions = (ClassLabel(10, 0.1), Style())
    cond = {"labels": jnp.arange(3), "style": jnp.ones((3, 3)), "else": jnp.ones(3)}
    cond[MASK] = jnp.ones((3, 1, 1, 1))
    found = unconditional(cond, conditions, ("style",))
    assert set(found) == {"labels", "style", MASK}
    np.testing.assert_array_equal(found["labels"], cond["labels"])
    assert not found["style"].any() and found[MASK] is cond[MASK]
    np.testing.assert_array_equal(unconditional(cond, conditions)["labels"], np.full(3, 10))
    assert set(unconditional(cond, ())) == {MASK}
    assert set(unconditional({}, conditions)) == set()


def test_examples_have_the_shapes_of_values():
    conditions = (ClassLabel(3), Augmentation(2), LowResolution(2))
    batch = {"image": jnp.zeros((5, 4, 8, 3)), "label": jnp.zeros(5, jnp.int32)}
    drawn = draw(conditions, batch | {"augment": jnp.zeros((5, 2))}, KEYS[:5])
    one = example(conditions, (4, 8, 3))
    assert jax.tree.map(lambda v: (1, *v.shape[1:]), drawn) == jax.tree.map(jnp.shape, one)
    assert find(conditions, "low") == LowResolution(2) and find(conditions, "style") is None


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: ClassLabel(0), "^num_classes: got 0"),
        (lambda: ClassLabel(3, 1.0), "^dropout: got 1.0"),
        (lambda: Augmentation(0), "^dim: got 0"),
        (lambda: LowResolution(2, dropout=-0.1), "^dropout: got -0.1"),
        (lambda: require_dropout(OWN + (ClassLabel(3),), ("labels",)), "^labels.dropout: got 0.0"),
    ],
)
def test_what_cannot_be_is_refused(make, match):
    with pytest.raises(InvalidValue, match=match):
        make()


def test_the_conditions_of_task_and_network_must_agree():
    network = DDPM(conditions=(ClassLabel(3),))
    with pytest.raises(InvalidValue, match=r"conditions: got \[\], but those of the network are"):
        ImageTask(VPSDE(), Parameterization(), network, SHAPE)
    twice = (ClassLabel(3), ClassLabel(4))
    with pytest.raises(InvalidValue, match="conditions: .* names that differ"):
        ImageTask(VPSDE(), Parameterization(), DDPM(), SHAPE, twice)


def test_evaluation_drops_nothing():
    conditions = (ClassLabel(3, 0.5), Augmentation(2))
    network = DDPM(dropout=0.3, conditions=conditions)
    task = ImageTask(VPSDE(), Parameterization(), network, SHAPE, conditions).for_evaluation()
    assert task.conditions == (ClassLabel(3), Augmentation(2)) and task.network.dropout == 0


def test_a_style_that_is_added_is_the_mean_of_its_places_and_no_token():
    style = jax.random.normal(KEYS[0], (2, 3, 4))
    encoder = conditions.Style(3, 4, 4, added=True).encoder(8, jnp.float32)
    params = quick_jit(lambda key: encoder.init(key, style, (4, 4, 1)))(KEYS[0])
    found = encoder.apply(params, style, (4, 4, 1))
    assert found.tokens is None and found.embedding.shape == (2, 8)
    mean = jnp.repeat(style.mean(1, keepdims=True), 3, axis=1)
    again = encoder.apply(params, mean, (4, 4, 1)).embedding
    np.testing.assert_allclose(again, found.embedding, atol=1e-6)
