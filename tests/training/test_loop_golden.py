"""Five training steps of the original, repeated by our loop, network, loss and optimizer.

The fixture's param0 and param_after1, 2, 5 are all the parameters after five steps (they were saved
as references to what was being trained). The run began with the parameters of `loss_ve`: with those
our losses are the recorded ones.
"""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import compile_quickly, quick_jit

from models.importers.score_sde import params_from_torch
from models.ncsnpp import NCSNpp
from parameterization import Parameterization
from sde_lib import VESDE
from tasks.image import ImageTask
from tasks.task import Context
from training.ema import EMA
from training.loop import TrainOptions, fit
from training.optimizer import Optimizer

OPTIONS = TrainOptions(
    steps=5,
    batch_size=4,
    optimizer=Optimizer(lr=2e-4, warmup=4, grad_clip=1.0),
    ema=EMA(0.999, warmup=True),
    microbatch=4,
    log_every=1,
    checkpoint_every=0,
)


@dataclasses.dataclass(frozen=True)
class ReplayTask(ImageTask):
    """The image task with the parameters, times and noise of the fixture."""

    start: dict | None = None

    def init(self, key):
        return jax.tree.map(jnp.asarray, self.start)

    def loss(self, context, batch, keys):
        t = self.process.training_time(batch["u"])
        losses = self.loss_at(context.params, batch["image"], t, batch["eps"], {})
        return jnp.mean(losses), {}


class ReplayLoader:
    """The batches of the fixture, NHWC."""

    def __init__(self, fixture):
        images, noise = (np.moveaxis(fixture[name], 2, -1) for name in ("batches", "zs"))
        self.rows = [
            {"image": image, "eps": eps, "u": u}
            for image, eps, u in zip(images, noise, fixture["us"], strict=True)
        ]
        self.position = 0

    def __next__(self):
        self.position += 1
        return self.rows[self.position - 1]

    def state(self):
        return {"position": self.position}

    def restore(self, state):
        self.position = state["position"]


@pytest.fixture(scope="module")
def fixture(golden):
    return golden("train_ve")


NETWORK = NCSNpp(nf=16, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(8,), dropout=0.0)


def parameters(fixture, prefix, frozen):
    """The arrays under a prefix as a parameter tree; the frequencies, never trained, may lack."""
    arrays = {k.removeprefix(prefix): fixture[k] for k in fixture.files if k.startswith(prefix)}
    return params_from_torch(frozen | arrays, NETWORK)


@pytest.fixture(scope="module")
def frozen(fixture):
    return {"all_modules.0.W": fixture["param0/all_modules.0.W"]}


@pytest.fixture(scope="module")
def task(golden, frozen):
    return ReplayTask(
        process=VESDE(0.01, 50.0),
        parameterization=Parameterization("scaled_score", "log_sigma", centre_input=True),
        network=NETWORK,
        shape=(16, 16, 3),
        reduction="half_sum",
        start=parameters(golden("loss_ve"), "param/", frozen),
    )


def leaves(tree):
    """Arrays in float64 by name, without the biases of attention keys: softmax does not see them,
    so their gradient is rounding noise, which Adam makes as long as any other."""
    named = jax.tree_util.tree_leaves_with_path(tree)
    names = {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in named}
    return {k: np.asarray(x, np.float64) for k, x in names.items() if not k.endswith("key/bias")}


def norm(tree):
    return np.sqrt(sum(np.sum(x**2) for x in tree.values()))


def minus(a, b):
    return {name: a[name] - b[name] for name in a}


def test_the_gradient_of_the_first_step(fixture, frozen, task):
    expected = parameters(
        fixture, "grad_step1_preclip/", {k: np.zeros_like(w) for k, w in frozen.items()}
    )
    batch = ReplayLoader(fixture).rows[0]
    loss = lambda p, batch: task.loss(Context(p), batch, None)[0]  # noqa: E731
    grads = quick_jit(jax.grad(loss))(task.start, batch)
    grads, expected = leaves(grads), leaves(expected)
    assert norm(minus(grads, expected)) < 1e-4 * norm(expected)


@pytest.mark.slow
def test_five_steps_of_the_original(fixture, frozen, task, tmp_path, monkeypatch):
    compile_quickly(monkeypatch)
    result = fit(task, ReplayLoader(fixture), OPTIONS, tmp_path)
    start = leaves(task.start)
    for tree, prefix in ((result.state.params, "param_after5/"), (result.state.ema, "ema_after5/")):
        expected = leaves(parameters(fixture, prefix, frozen))
        error, change = minus(leaves(tree), expected), minus(expected, start)
        assert norm(error) < 1e-4 * norm(change)
        largest = max(np.abs(x).max() for x in change.values())
        assert max(np.abs(x).max() for x in error.values()) < 1e-2 * largest

    rows = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    names = {"loss": "losses", "gradient_norm": "grad_norms", "learning_rate": "lrs"}
    for name, theirs in names.items():
        np.testing.assert_allclose([row[name] for row in rows], fixture[theirs], rtol=1e-4)
