"""What the digit judge is trained on, and that finishing it changes no decision between digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

import data
from metrics import digits
from tools import train_digit_classifier as tool


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(data.digits("train").images[:200, ..., 0], jnp.float32) / 255


def test_distortions_are_small_and_some_digits_stay_as_they_are(images):
    keys = jax.random.split(jax.random.key(0), 200)
    made = np.asarray(quick_jit(jax.vmap(tool.distort))(keys, images))
    same = np.all(np.abs(made - images) < 1e-5, axis=(1, 2))
    assert 0.15 < same.mean() < 0.35
    y, x = np.mgrid[:28, :28]
    for axis in (y, x):
        before, after = ((axis * z).sum((1, 2)) / z.sum((1, 2)) for z in (np.asarray(images), made))
        assert np.max(np.abs(after - before)) < 4


def test_batches_hold_digits_with_labels_then_rejects(images):
    labels = jnp.asarray(data.digits("train").labels[:200])
    x, y = quick_jit(tool.make_batch)(jax.random.key(0), images, labels)
    assert x.shape == (tool.DIGITS + tool.FAKES, 28, 28, 1)
    assert np.all(y[tool.DIGITS :] == digits.REJECT) and np.all(y[: tool.DIGITS] < 10)
    assert 0 <= float(x.min()) and float(x.max()) <= 1


def test_finishing_moves_the_reject_logit_alone(images):
    network = digits.DigitClassifier()
    params = quick_jit(network.init)(jax.random.key(0), images[:1, ..., None])["params"]
    before = network.apply({"params": params}, images[..., None])
    after = network.apply({"params": tool.finish(params, images)}, images[..., None])
    assert abs(float(jnp.mean(after.features**2)) - 1) < 1e-4
    shift = np.zeros(11)
    shift[digits.REJECT] = np.log(tool.EXPECTED / (tool.FAKES / tool.DIGITS))
    np.testing.assert_allclose(after.logits - before.logits, np.tile(shift, (200, 1)), atol=1e-4)


@pytest.mark.slow
def test_a_short_training_learns(images):
    source = data.digits("train")
    x = jnp.asarray(source.images[..., 0], jnp.float32) / 255
    params = tool.train(x, jnp.asarray(source.labels, jnp.int32), steps=300)
    test = data.digits("test")
    out = digits.DigitClassifier().apply(
        {"params": params}, jnp.asarray(test.images / 255, jnp.float32)
    )
    assert np.mean(np.argmax(out.logits[:, :10], axis=1) == test.labels) > 0.9
