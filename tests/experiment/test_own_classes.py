"""Classes from outside of the project: trained, sampled, resumed from the workdir, exported."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from quick import random_parameters

from experiment import kinds, modes
from experiment.modes import Command
from experiment.pipeline import load
from options.errors import InvalidValue
from tools import export_weights

ROOT = pathlib.Path(__file__).parents[2]
MINE = '''
from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

import sde_lib
from data import Record, Source
from experiment.image import ImageExperiment
from losses import Weighting
from models.layers.conditioning import Embedding, Encoding
from training.optimizer import Decay


@dataclasses.dataclass(frozen=True)
class Cosine(sde_lib.Process):
    """alpha = cos(rate pi t / 2).

    Attributes:
      rate: of the angle.
    """

    rate: float = 1.0
    t_max: float = dataclasses.field(default=0.999, kw_only=True)

    def alpha(self, t):
        return jnp.cos(self.rate * jnp.pi * t / 2)

    def sigma(self, t):
        return jnp.sin(self.rate * jnp.pi * t / 2)


class Net(nn.Module):
    width: int = 8
    conditions: tuple = ()

    @nn.compact
    def __call__(self, x, c_noise, **cond):
        embed = Embedding(self.width, nn.swish, self.conditions)
        h = embed(c_noise[:, None], cond, x.shape[1:], len(x)).embedding
        h = nn.swish(nn.Dense(self.width)(x.reshape(len(x), -1)) + nn.Dense(self.width)(h))
        return nn.Dense(x[0].size)(h).reshape(x.shape)


class Judge(nn.Module):
    num_classes: int = 2

    @nn.compact
    def __call__(self, x, c_noise):
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1))


@dataclasses.dataclass(frozen=True)
class Euler:
    """A plain dataclass: the probability flow in steps of the grid."""

    share: float = 1.0

    def budget(self, steps):
        return steps

    def begin(self, process, run, x):
        return None

    def advance(self, process, run, state, i):
        from sampling import at

        node, after = (at(run.grid, j, len(state.x)) for j in (i, i + 1))
        v = run.predict(state.x, node, run.cond).velocity(process)
        x = state.x + self.share * sde_lib.expand_right(after.t - node.t, v) * v
        done = jnp.full(len(x), i + 2 == len(run.grid.t))
        return state._replace(x=x, x_mean=x, t=after.t, done=done, nfe=state.nfe + 1)


class ToVector(nn.Module):
    width: int

    @nn.compact
    def __call__(self, value, shape):
        return Encoding(embedding=nn.Dense(self.width)(value))


@dataclasses.dataclass(frozen=True)
class Brightness:
    bins: int = 2
    dropout: float = 0.5
    name: ClassVar[str] = "brightness"

    def example(self, shape):
        return jnp.zeros((1, self.bins))

    def draw(self, batch, keys):
        from tasks.conditions import with_dropout

        mean = batch["image"].mean((1, 2, 3))
        return with_dropout(self, jnp.stack([mean] * self.bins, 1), keys)

    def null(self, value):
        return jnp.zeros_like(value)

    def encoder(self, width, dtype):
        return ToVector(width)


class Bars(Source):
    name, shape, class_names = "bars", (8, 8, 1), ("lying", "standing")

    def __len__(self):
        return 40

    def __getitem__(self, i):
        image = np.zeros((8, 8, 1), np.uint8)
        image[(slice(None), i % 8) if i % 2 else (i % 8,)] = 255
        return Record(image=image, label=i % 2)


@dataclasses.dataclass(frozen=True)
class BarsData:
    def read(self, split="train"):
        return Bars()


@dataclasses.dataclass(frozen=True)
class Flat(Weighting):
    factor: float = 1.0

    def error(self, process, errors):
        return self.factor * errors.eps


linear = Decay(lambda n, warmup, steps: 1 - n / steps)


class Louder(ImageExperiment):
    def check(self):
        super().check()
        print("louder")
'''
CONFIG = """
from configs.default import get_default_config


def get_config():
    config = get_default_config("{task}")
    config.process = {{"name": "{module}:Cosine", "rate": 0.9}}
    config.model = "{module}:Net"
    config.conditions = {{"glow": {{"name": "{module}:Brightness", "bins": 3}}}}
    config.parameterization.c_noise = "time"
    config.loss.weighting = "{module}:Flat"
    config.data = {{"source": "{module}:BarsData", "image_size": (8, 8)}}
    config.optim = {{"warmup": 1, "decay": "{module}:linear"}}
    config.training = {{
        "steps": 2, "batch_size": 4, "microbatch": "4", "log_every": 1, "draw_every": 0,
        "evaluate_every": 0,
    }}
    config.sampling = {{
        "solver": {{"name": "{module}:Euler", "share": 0.5}}, "num_steps": 3, "num_samples": 2,
        "batch_size": 2, "t_end": 1e-3,
    }}
    return config
"""


@pytest.fixture
def mine(tmp_path):
    """A folder with classes and a configuration of them."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "own_parts.py").write_text(MINE)
    (folder / "bars.py").write_text(CONFIG.format(module="own_parts", task="image"))
    return folder


def train(where, workdir, **overrides):
    config = kinds.load(where, {f"training.{k}": v for k, v in overrides.items()})
    assert modes.run("train", Command(config, workdir)) == 0


@pytest.mark.slow
def test_a_run_of_nothing_but_own_classes(mine, tmp_path, forget_own, capsys):
    workdir, weights = tmp_path / "run", tmp_path / "mine.npz"
    train(mine / "bars.py", workdir)
    assert json.loads((workdir / "folders.json").read_text()) == [str(mine)]

    # Resumed, and sampled, by the workdir alone.
    forget_own()
    train(workdir, workdir, steps=4)
    assert "finished at step 4" in capsys.readouterr().out
    forget_own()
    made = load(workdir).sample(2, seed=1)
    assert made.data.shape == (2, 8, 8, 1) and made.nfe == 4

    export_weights.export(workdir, weights, dtype="float32")
    experiment = kinds.open_experiment(weights)  # beside which the module is known
    parts = sys.modules["own_parts"]
    assert experiment.process == parts.Cosine(0.9)
    assert experiment.conditions == (parts.Brightness(3),)
    assert type(experiment.task.weighting) is parts.Flat
    assert experiment.sampler.solver == parts.Euler(0.5)
    np.testing.assert_array_equal(load(weights).sample(2, seed=1).data, made.data)
    changes = {"process": "own_parts:Cosine", "process.t_max": 0.9, "conditions.glow.bins": 2}
    changed = kinds.open_experiment(weights, changes)
    assert changed.process == parts.Cosine(0.9, t_max=0.9) and changed.conditions[0].bins == 2

    # Weights do not say where from, and a folder that is gone is named.
    forget_own()
    with pytest.raises(InvalidValue) as error:
        load(weights)
    assert str(error.value) == (
        f"{weights} remembers a configuration whose process: got 'own_parts:Cosine', but there is "
        "no module 'own_parts' in Python's path, expected its folder on PYTHONPATH, or --config "
        "with a file beside it"
    )
    kinds.read(mine / "bars.py")
    assert load(weights).experiment.process.rate == 0.9
    forget_own()
    shutil.move(mine, tmp_path / "elsewhere")
    with pytest.raises(InvalidValue, match=f"there is no module 'own_parts' in {mine}, expected"):
        load(workdir)
    kinds.read(tmp_path / "elsewhere" / "bars.py")
    assert load(workdir).experiment.process.rate == 0.9
    train(tmp_path / "elsewhere" / "bars.py", workdir, steps=4)
    assert json.loads((workdir / "folders.json").read_text()) == [str(tmp_path / "elsewhere")]


def test_a_task_and_a_classifier_of_ones_own(mine, forget_own, capsys):
    (mine / "louder.py").write_text(CONFIG.format(module="own_parts", task="image"))
    given = {"task": "own_parts:Louder", "process": "vp"}
    experiment = kinds.open_experiment(mine / "louder.py", given)
    experiment.check_all(1)
    assert capsys.readouterr().out == "louder\n"
    section = {"task": "classifier", "process": "own_parts:Cosine", "model": "own_parts:Judge"}
    section |= {"data": {"source": "own_parts:BarsData", "image_size": (8, 8)}}
    classifier = kinds.experiment(kinds.complete(section))
    classifier.check_all(1)
    params = random_parameters(classifier.task.init, jax.random.key(0))
    assert jax.tree.leaves(params)[0].shape[-1] == 2
    section["model"] = "own_parts:Net"
    with pytest.raises(InvalidValue, match="expected a network with a field `num_classes`"):
        kinds.experiment(kinds.complete(section)).check_all(1)
    with pytest.raises(InvalidValue, match="task: got 'own_parts:Net', expected a subclass of exp"):
        kinds.complete({"task": "own_parts:Net"})


def test_conditions_of_ones_own_have_a_key_and_a_name(mine, forget_own):
    kinds.read(mine / "bars.py")
    chosen = {"conditions.a.bins": 4, "conditions.a": "own_parts:Brightness"}
    experiment = kinds.open_experiment("digits/vp", chosen)
    assert [c.name for c in experiment.conditions] == ["labels", "brightness"]
    assert experiment.conditions[1].bins == 4
    section = experiment.config.conditions.to_dict()
    assert section["a"] == {"name": "own_parts:Brightness", "bins": 4, "dropout": 0.5}
    assert "name" not in section["labels"]
    for key, said in (
        ("conditions.a", "conditions.a: got 'own_parts:Brigtness', but own_parts has no 'Brigtn"),
        ("conditions.labels", "conditions.labels: got 'own_parts:Brigtness', but own_parts has "),
    ):
        with pytest.raises(InvalidValue) as error:
            kinds.load("digits/vp", {key: "own_parts:Brigtness"})
        assert str(error.value).startswith(said)
    with pytest.raises(
        InvalidValue, match=r"conditions: got 'a', expected one of \[.*'labels', 'lo"
    ):
        kinds.load("digits/vp", {"conditions.a.bins": 4})


def test_the_command_line_knows_them(mine):
    """Their fields, and what they mean, as those of a table."""
    fields = ["--config.process=own_parts:Cosine", "--config.process.rate=0.5"]
    fields += ["--config.conditions.glow=own_parts:Brightness", "--config.conditions.glow.bins=5"]
    command = [sys.executable, "main.py", f"--config={mine / 'bars.py'}", "--mode=fields", *fields]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    for line in (
        "process = own_parts:Cosine (default ve)",
        "process.rate = 0.5 (default 1.0)\n    of the angle.",
        "own_parts:Cosine: alpha = cos(rate pi t / 2). Fields: t_min",
        "conditions = glow (default none)",
        "conditions.glow.bins = 5 (default 2)",
    ):
        assert line in done.stdout, line
