"""The task of handwriting: the paper's loss, in numpy, and what padding does to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters

import losses
from models.handwriting import HandwritingNetwork
from parameterization import Parameterization
from sde_lib import HandwritingSchedule
from tasks.conditions import Style, Text
from tasks.strokes import StrokeTask
from tasks.task import Context

CONDITIONS = (Text("abc"), Style(2, 8, 8))
NETWORK = HandwritingNetwork(
    widths=(8, 16), heads=(0, 2), middle=1, text_width=8, text_heads=2, noise_width=16,
    noise_features=8, dropout=0.0, conditions=CONDITIONS,
)  # fmt: skip
KEYS = jax.random.split(jax.random.key(5), 3)


def make_task(**options):
    return StrokeTask(
        HandwritingSchedule(), Parameterization("noise", "alpha"), NETWORK, (8, 2), CONDITIONS,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def batch():
    key = jax.random.key(1)
    lengths = np.array([8, 6, 3])
    mask = jnp.arange(8)[:, None] < lengths[:, None, None]
    pen = jax.random.bernoulli(key, 0.3, (3, 8, 1)).astype(jnp.float32)
    rows = jnp.concatenate([jax.random.normal(key, (3, 8, 2)), pen], -1) * mask
    text = jnp.array([[1, 2], [3, 0], [2, 2]])
    style = jax.random.normal(key, (3, 2, 8))
    return {"image": rows, "mask": mask, "text": text, "style": style, "label": jnp.zeros(3)}


@pytest.fixture(scope="module")
def params():
    return random_parameters(make_task().init, jax.random.key(0))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("published", [True, False])
def test_the_loss_is_that_of_the_paper(batch, params, published):
    """mean |eps - eps_hat|^2 / 2 + alpha^2 cross-entropy / 2, in numpy from the prediction."""
    options = {"padding_counts": True, "average_weight": True} if published else {}
    task = make_task(**options)
    loss, metrics = quick_jit(lambda b: task.loss(Context(params), b, KEYS))(batch)
    noise_keys, _ = jax.vmap(jax.random.split)(KEYS).T
    t, eps = losses.draw_times_and_noise(task.process, noise_keys, (8, 2))
    mask = None if published else batch["mask"]
    real = np.ones((3, 8, 1)) if published else np.asarray(batch["mask"], float)
    node = task.process.node(t)
    x = node.alpha[:, None, None] * batch["image"][..., :2] + node.sigma[:, None, None] * eps
    cond = {name: batch[name] for name in ("text", "style")} | ({} if published else {"mask": mask})
    found = task.predictor(params)(x * real, node, cond)
    pen = np.where(batch["mask"], batch["image"][..., 2:], 1.0 if published else 0.0)
    p = 1 / (1 + np.exp(-np.float64(found.aux["pen"])))
    entropy = -(pen * np.log(p) + (1 - pen) * np.log(1 - p))
    square = (np.float64(found.eps - eps) ** 2).sum(-1, keepdims=True)
    mean = lambda y: (y * real).sum((1, 2)) / real.sum((1, 2))  # noqa: E731
    power = np.float64(node.alpha) ** 2
    power = power.mean() if published else power
    want = (mean(square) + power * mean(entropy)) / 2
    np.testing.assert_allclose(metrics["loss"], want, rtol=2e-4)
    assert float(loss) == pytest.approx(want.mean(), rel=2e-4)


def test_what_stands_in_the_padding_does_not_count(batch, params):
    other = batch | {"image": jnp.where(batch["mask"], batch["image"], 7.0)}
    loss = quick_jit(lambda b: make_task().loss(Context(params), b, KEYS)[0])
    assert float(loss(other)) == float(loss(batch))


def test_the_pen_is_trained_and_hidden_conditions_are(batch):
    """The gradient reaches the pen's layer; with dropout near 1 text and style change nothing."""
    task = make_task()
    start = random_parameters(task.init, jax.random.key(0))
    gradient = quick_jit(jax.grad(lambda p: task.loss(Context(p), batch, KEYS)[0]))(start)
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient["pen"]))
    hidden = (Text("abc", dropout=1 - 1e-7), Style(2, 8, 8, dropout=1 - 1e-7))
    task = StrokeTask(
        HandwritingSchedule(), Parameterization("noise", "alpha"),
        NETWORK.clone(conditions=hidden), (8, 2), hidden,
    )  # fmt: skip
    other = batch | {"text": batch["text"][::-1], "style": 3 * batch["style"]}
    loss = quick_jit(lambda b: task.loss(Context(start), b, KEYS)[0])
    assert float(loss(other)) == float(loss(batch))
