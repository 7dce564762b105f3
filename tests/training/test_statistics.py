"""Running statistics: of the global batch, kept with the run, and no matter for the optimizer.

(That all ways of sharding agree on them is in test_parallel, whose tiny task has some.)
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit
from tiny_task import StatisticsTask, TinyLoader

from models.layers.batch_norm import BatchNorm, BatchNorms
from models.resnet import ResNet
from sde_lib import VESDE
from tasks.classifier import ClassifierTask
from tasks.task import STATISTICS, Context
from training.ema import EMA
from training.loop import TrainOptions, fit
from training.optimizer import Optimizer
from training.parallel import State
from training.program import apply_gradient, mean_gradient

OPTIONS = TrainOptions(
    steps=6, batch_size=8, n_jitted_steps=3, log_every=3, checkpoint_every=3, draw_every=0,
    evaluate_every=0, ema=EMA(0.9), optimizer=Optimizer(lr=0.1, warmup=0, weight_decay=0.5),
)  # fmt: skip


def train(folder, **options):
    options = dataclasses.replace(OPTIONS, **options)
    return jax.device_get(fit(StatisticsTask(), TinyLoader(8), options, folder).state)


def test_they_are_those_of_the_global_batch_and_a_resumed_run_has_their_bits(tmp_path):
    """The recurrence by hand, two examples differentiated at once; neither weight decay nor Adam
    moves them. The average has its own."""
    train(tmp_path, steps=3, microbatch="2")
    state, whole = train(tmp_path, microbatch="2"), train(tmp_path / "whole", microbatch="2")
    jax.tree.map(np.testing.assert_array_equal, state.params, whole.params)
    jax.tree.map(np.testing.assert_array_equal, state.ema, whole.ema)
    assert STATISTICS not in (tmp_path / "metrics.jsonl").read_text()
    loader, mu = TinyLoader(8), StatisticsTask.momentum
    mean, variance = ema = np.zeros(4), np.ones(4)
    for _ in range(6):
        x = np.float64(next(loader)["x"])
        mean = mu * mean + (1 - mu) * x.mean(0)
        variance = mu * variance + (1 - mu) * x.var(0)
        ema = [0.9 * e + 0.1 * p for e, p in zip(ema, (mean, variance), strict=True)]
    for tree, expected in ((state.params, (mean, variance)), (state.ema, ema)):
        np.testing.assert_allclose(tree["norm"]["mean"], expected[0], atol=1e-6)
        np.testing.assert_allclose(tree["norm"]["variance"], expected[1], atol=1e-6)


# Of a network.

x = 3 + 2 * jax.random.normal(jax.random.key(0), (8, 4, 4, 3))


def test_batch_norm_by_its_definition():
    params = BatchNorm().init(jax.random.key(0), x)["params"]
    assert set(params) == {"scale", "bias", "mean", "variance"}
    params |= {"scale": jnp.array([1.0, 2.0, 3.0]), "bias": jnp.array([0.5, 0.0, -0.5])}
    params |= {"mean": jnp.array([1.0, 2.0, 3.0]), "variance": jnp.array([4.0, 1.0, 2.0])}
    h = np.asarray(x, np.float64)

    def expected(mean, variance):
        return (h - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"]

    y, found = BatchNorm().apply({"params": params}, x, mutable=["statistics"])
    mean, variance = h.mean((0, 1, 2)), h.var((0, 1, 2))
    np.testing.assert_allclose(y, expected(mean, variance), atol=1e-4)
    about = variance + (mean - np.float64(params["mean"])) ** 2
    np.testing.assert_allclose(found["statistics"]["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(found["statistics"]["square"], about, rtol=1e-5)
    in_use = BatchNorm().apply({"params": params}, x)
    running = np.float64(params["mean"]), np.float64(params["variance"])
    np.testing.assert_allclose(in_use, expected(*running), atol=1e-4)


def classifier(**norm):
    network = ResNet(
        num_classes=3, nf=4, ch_mult=(1,), num_res_blocks=(1,), stem="small", standardize=False,
        fourier_size=4, embed_dim=8, norm=BatchNorms(**norm),
    )  # fmt: skip
    return ClassifierTask(VESDE(0.01, 2.0), network, (4, 4, 3))


BATCH = {"image": x, "label": jnp.arange(8) % 3}
KEYS = jax.random.split(jax.random.key(1), 8)


def step(task, params, size):
    """The parameters after a step with weight decay, `size` examples at a time."""

    @quick_jit
    def run(params):
        grads, summaries = mean_gradient(task.loss, size, Context(params), BATCH, KEYS)
        optimizer, ema = Optimizer(lr=0.1, warmup=0, weight_decay=0.5), EMA()
        state = State(0, params, optimizer.transformation().init(params), params, None)
        return apply_gradient(optimizer, ema, state, grads, summaries, task.absorb)[0].params

    return run(params)


@pytest.fixture(scope="module")
def params():
    return quick_jit(classifier().init)(jax.random.key(2))


@pytest.mark.slow
def test_statistics_of_a_network_are_of_the_global_batch(params):
    task = classifier(momentum=0.8)
    whole, parts = step(task, params, 8), step(task, params, 2)
    for name in ("mean", "variance"):
        # What the first norm sees depends on no other.
        got = whole["norm_in"][name], parts["norm_in"][name]
        np.testing.assert_allclose(*got, rtol=1e-5)
        assert not np.allclose(got[0], params["norm_in"][name])


def test_a_network_trains_by_its_batch_and_is_evaluated_by_running_statistics(params):
    task = classifier()
    kernel = jax.random.normal(jax.random.key(3), params["logits"]["kernel"].shape)
    params = params | {"logits": params["logits"] | {"kernel": kernel}}
    beside = BATCH | {"image": x.at[1:].multiply(3.0)}
    for made, alike in ((task, False), (task.for_evaluation(), True)):
        losses = quick_jit(lambda batch, made=made: made.loss(Context(params), batch, KEYS))
        first, again = (losses(batch)[1]["loss"][0] for batch in (BATCH, beside))
        assert np.allclose(first, again, rtol=1e-5) == alike


@pytest.mark.slow
def test_frozen_statistics_stay_and_a_step_is_that_of_any_split(params):
    task = classifier(frozen=True)
    whole, parts = step(task, params, 8), step(task, params, 2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, parts)
    for name in ("mean", "variance"):
        np.testing.assert_array_equal(whole["norm_in"][name], params["norm_in"][name])
    assert not np.allclose(whole["conv_in"]["kernel"], params["conv_in"]["kernel"])
