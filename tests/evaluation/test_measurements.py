"""What is measured while a model trains: right numbers of the right examples, of every kind."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, random_parameters, with_devices
from tiny_runs import rows

import losses
from data import ArraySource, Pixels, Scaled, Transform
from data.randomness import permutation
from evaluation.measurements import HeldOutLoss
from parameterization import Parameterization
from sde_lib import VPSDE
from tasks.classifier import ClassifierTask
from tasks.conditions import ClassLabel, LowResolution
from tasks.image import ImageTask
from tasks.task import Context
from training import loop
from training.ema import EMA
from training.loop import TrainOptions
from training.optimizer import Optimizer

HERE = pathlib.Path(__file__).parent
SEED, VP = 3, VPSDE()
PARAMETERIZATION = Parameterization("noise", "edm")


class Dense(nn.Module):
    """Two layers of the whole example and whatever else it is given, with dropout between them."""

    dropout: float = 0.0
    width: int = 32
    out: int = 0  # 0: as many as the example has

    def check(self, *shape):
        """It takes all."""

    @nn.compact
    def __call__(self, x, c_noise, *, dropout_keys=None, mask=None, **cond):
        x = x if mask is None else jnp.where(mask, x, 0.0)
        parts = [x, c_noise, *jax.tree.leaves(cond)]
        flat = [part.reshape(len(x), -1).astype(jnp.float32) for part in parts]
        h = jnp.tanh(nn.Dense(self.width)(jnp.concatenate(flat, axis=1)))
        if dropout_keys is not None:
            kept = jax.vmap(lambda k: jax.random.bernoulli(k, 1 - self.dropout, (self.width,)))
            h = h * kept(dropout_keys)
        y = nn.Dense(self.out or x[0].size)(h)
        return y if self.out else y.reshape(x.shape)


def pixels(name, count, seed):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 4, 4, 1), np.uint8)
    return ArraySource(name, images, random.integers(0, 3, count), ("a", "b", "c"))


def walks(name, count, seed):
    """Sequences of three classes, padded to six steps."""
    random = np.random.default_rng(seed)
    mask = (np.arange(6) < random.integers(1, 7, count)[:, None])[..., None]
    steps = np.where(mask, random.normal(size=(count, 6, 2)), 0).astype(np.float32)
    return ArraySource(name, steps, random.integers(0, 3, count), ("a", "b", "c"), mask)


def generative(shape=(4, 4, 1), conditions=(), dropout=0.5, **more):
    return ImageTask(VP, PARAMETERIZATION, Dense(dropout), shape, conditions, **more)


LABELS = (ClassLabel(3, dropout=0.5),)
IMAGES = Transform(flip=True, dequantize=True, space=Pixels(-1.0, 1.0))
CASES = {
    "labels": (generative(conditions=LABELS), pixels, IMAGES),
    "upsampler": (generative(conditions=(LowResolution(2),)), pixels, IMAGES),
    "masks": (generative((6, 2), LABELS), walks, Transform(space=Scaled())),
    "importance": (generative(times="likelihood", weighting="likelihood"), pixels, IMAGES),
    "classifier": (ClassifierTask(VP, Dense(0.5, out=3), (4, 4, 1), "edm", 0.1), pixels, IMAGES),
}


def measure_of(case, most):
    """The measurement of a case, of 20 training examples and 9 held-out ones at most."""
    task, make, transform = CASES[case]
    train, held_out = make("train", 20, 0), make("held-out", 9, 1)
    return HeldOutLoss(task, train, held_out, transform, SEED, every=100, most=most)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_loss_of_chosen_examples_under_fixed_noise(case):
    """Eleven of each at most, and nine are held out; by hand, one at a time."""
    task, _, transform = CASES[case]
    measure = measure_of(case, most=11)
    params = random_parameters(task.init, jax.random.key(0))
    assert measure.about == "the loss of 9 examples each: held-out; train"
    found = measure(Context(params, params), at_once=4)

    key = jax.random.fold_in(jax.random.key(SEED), 0)
    still = dataclasses.replace(transform, flip=False)
    quiet = dataclasses.replace(task, network=Dense(out=task.network.out))
    if case in ("labels", "masks"):
        quiet = dataclasses.replace(quiet, conditions=(ClassLabel(3),))
    values, by_hand = {}, quick_jit(quiet.loss)
    for source in (measure.train, measure.held_out):
        order = permutation(SEED, 0, len(source))
        for i in range(9):
            example = dict(still(source.take(order[i : i + 1]), range(i, i + 1), SEED))
            keys = jax.random.fold_in(key, i)[None]
            said = by_hand(Context(params), example, keys)[1]
            for name in said.keys() - {"level"}:
                values.setdefault((source.name, name), []).append(float(said[name][0]))
    gap = np.subtract(values["held-out", "loss"], values["train", "loss"])
    expected = {
        "held_out_loss": np.mean(values["held-out", "loss"]),
        "training_loss": np.mean(values["train", "loss"]),
        "loss_gap": np.mean(gap),
        "loss_gap_error": np.std(gap, ddof=1) / 3,
    }
    if case == "classifier":
        expected["held_out_accuracy"] = np.mean(values["held-out", "accuracy"])
        expected["training_accuracy"] = np.mean(values["train", "accuracy"])
    assert found == pytest.approx(expected, rel=1e-4)
    assert measure(Context(params, params), at_once=4) == found
    assert measure(Context(params, params), at_once=64) == pytest.approx(found, rel=1e-5)


def test_without_dropout_and_condition_by_hand():
    """The loss of the given labels at the times and noise of the keys, by `losses` alone."""
    task, _, transform = CASES["labels"]
    measure = measure_of("labels", most=4)
    held_out, params = measure.held_out, random_parameters(task.init, jax.random.key(0))
    order = permutation(SEED, 0, len(held_out))[:4]
    x_0 = 2 * held_out.images[order].astype(np.float32) / 255 - 1
    batch = dataclasses.replace(transform, flip=False)(held_out.take(order), range(4), SEED)
    assert np.abs(batch["image"] - x_0).max() < 2 / 255  # dequantised
    key = jax.random.fold_in(jax.random.key(SEED), 0)
    noise_keys = [jax.random.split(jax.random.fold_in(key, i))[0] for i in range(4)]
    t, eps = losses.draw_times_and_noise(VP, jnp.stack(noise_keys), (4, 4, 1))
    node = VP.node(t)
    x = node.alpha[:, None, None, None] * batch["image"] + node.sigma[:, None, None, None] * eps
    c_noise = PARAMETERIZATION.c_noise(node)
    said = Dense().apply({"params": params}, x, c_noise, labels=held_out.labels[order])
    expected = float(np.mean((said - eps) ** 2))
    assert measure(Context(params, params), 4)["held_out_loss"] == pytest.approx(expected, rel=1e-4)


ON_DEVICES = """
import json
import jax
from tasks.task import Context
from quick import random_parameters
from test_measurements import CASES, measure_of
task = CASES["labels"][0]
params = jax.device_get(random_parameters(task.init, jax.random.key(0)))
found = measure_of("labels", most=11)(Context(params, params), at_once=1)
print(json.dumps({"devices": jax.local_device_count(), **found}))
"""


def test_several_devices_give_the_same(tmp_path):
    """Eleven examples in batches of four, of which each device has one."""
    path = os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parent.parent)))
    done = subprocess.run(
        [sys.executable, "-c", ON_DEVICES], env=with_devices(4) | {"PYTHONPATH": path},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("devices") == 4
    params = random_parameters(CASES["labels"][0].init, jax.random.key(0))
    alone = measure_of("labels", most=11)(Context(params, params), at_once=4)
    assert found == pytest.approx(alone, rel=1e-5)


def test_a_single_example_has_a_gap_without_an_error():
    params = random_parameters(CASES["labels"][0].init, jax.random.key(0))
    found = measure_of("labels", most=1)(Context(params, params), at_once=4)
    assert found.keys() == {"held_out_loss", "training_loss", "loss_gap"}


LITTLE_NOISE = losses.LogNormalTimes(mean=-4.0, std=0.5)


class Everything:
    """All of a source at every step."""

    def __init__(self, source, transform):
        everything = np.arange(len(source))
        self.batch = transform(source.take(everything), range(len(source)), 0)

    def __next__(self):
        return self.batch

    def state(self):
        return {}

    def restore(self, state):
        pass


def test_overfitting_shows(tmp_path):
    """Classes drawn by lot are learnt by heart, which says nothing of other examples."""
    task = ClassifierTask(VP, Dense(width=256, out=3), (4, 4, 1), "edm", times=LITTLE_NOISE)
    transform, train = Transform(space=Pixels(-1.0, 1.0)), pixels("train", 64, 0)
    measure = HeldOutLoss(task, train, pixels("other", 64, 1), transform, SEED, 100, most=64)
    options = TrainOptions(
        steps=400, batch_size=64, microbatch="64", n_jitted_steps=100, log_every=100,
        draw_every=0, optimizer=Optimizer(lr=1e-2, warmup=10), ema=EMA(0.9),
    )  # fmt: skip
    loop.fit(task, Everything(train, transform), options, tmp_path, measurements=[measure])
    found = [row for row in rows(tmp_path) if "loss_gap" in row]
    first, last = found[0], found[-1]
    assert [row["step"] for row in found] == [100, 200, 300, 400]
    assert last["loss_gap"] > 4 * last["loss_gap_error"] and last["loss_gap"] > first["loss_gap"]
    assert last["training_loss"] < first["training_loss"]
    assert last["held_out_loss"] > first["held_out_loss"] > np.log(3)
    assert last["training_accuracy"] > 0.95 and last["held_out_accuracy"] < 0.6
