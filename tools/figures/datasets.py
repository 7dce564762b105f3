"""Figures of data and of training."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from data import Subset
from evaluation.plots import pyplot
from experiment import kinds, modes
from options.errors import UserError
from storage.pictures import Panel
from tools.figures.base import Exact, Work
from tools.figures.models import AFHQ, OF_THE_THESIS, Model
from tools.sigma_max import by_class, farthest_pair, some_of


def _images(model: Model, work: Work, count: int) -> np.ndarray:
    """Training images of a model's data at its size, spread over the set, uint8."""
    experiment = model.configured(work)
    source = experiment.train_source
    chosen = np.linspace(0, len(source) - 1, count).astype(int)
    resized = experiment.transform.for_evaluation().resized
    return np.stack([resized(x) for x in source.take(chosen)["image"]])


@dataclasses.dataclass(frozen=True)
class Sets(Exact):
    """Images of each data set, a picture each."""

    models: tuple[Model, ...] = OF_THE_THESIS
    each: int = 6

    def make(self, work: Work) -> None:
        stand_ins = {model.stand_in: model for model in self.models}
        for model in stand_ins.values() if work.small else self.models:
            images = _images(model, work, work.count(self.each, self.each))
            name = model.stand_in.rpartition("/")[2].removesuffix(".npz")
            work.panels(f"data_{name if work.small else model.data}", Panel(images[None]))

    def needs(self) -> str:
        return "--data; seconds"


@dataclasses.dataclass(frozen=True)
class Hyperparameters(Exact):
    """What each model is trained with, read off its configuration."""

    models: tuple[Model, ...] = OF_THE_THESIS

    def make(self, work: Work) -> None:
        rows = []
        for model in self.models:
            try:
                config = kinds.load(model.config)
            except UserError as error:
                print(f"left out: {error}")
                continue
            size = " x ".join(map(str, config.data.image_size))
            process = config.process
            numbers = (process.sigma_min, process.sigma_max, config.sampling.num_steps)
            batch, steps = config.training.batch_size, config.training.steps
            rows.append([model.title, size, *map(str, numbers), str(batch), f"{steps:,}"])
        header = ["data set", "resolution", "sigma_min", "sigma_max", "noise scales"]
        header += ["batch", "iterations"]
        work.table("hyperparameters", header, rows)


@dataclasses.dataclass(frozen=True)
class Widths(Exact):
    """sigma_max, the largest distance of two images, by class and of all; and the two images.

    images: of each class, at most.
    """

    model: Model = AFHQ
    images: int = 4000

    def make(self, work: Work) -> None:
        experiment = self.model.configured(work)
        source, transform, space = experiment.train_source, experiment.transform, experiment.space
        most = work.count(20, self.images)
        chosen = {name: _some(part, most) for name, part in by_class(source).items()}
        chosen["all"] = np.sort(np.concatenate(list(chosen.values())))
        parts = {name: Subset(source, indices) for name, indices in chosen.items()}
        rows, pairs = [], []
        for name, part in parts.items():
            found = farthest_pair(part, transform)
            width = f"{found.distance * space.width:.4g}"
            numbers = part.indices[list(found.pair)]
            rows.append([name, str(len(part)), width, *map(str, numbers)])
            images = part.take(np.array(found.pair))["image"]
            pairs.append([transform.for_evaluation().resized(x) for x in images])
        header = ["class", "images", "sigma_max", "first image", "second image"]
        work.table("sigma_max", header, rows)
        work.panels("farthest", Panel(np.stack(pairs), names=list(parts)))

    def needs(self) -> str:
        return f"images of {self.model.title}; minutes"


def _some(part: Subset, most: int) -> np.ndarray:
    """The indices of at most so many examples of a part, in the source that it is of."""
    some: Any = some_of(part, most)
    return part.indices if some is part else part.indices[some.indices]


@dataclasses.dataclass(frozen=True)
class Training:
    """A model is trained, or goes on training: its loss, on held-out images too.

    model: which; its run is the workdir, that of a stand-in lies in the figure's folder.
    """

    model: Model = AFHQ

    def make(self, work: Work) -> None:
        if work.small:
            workdir, config = work.out / "run", kinds.load("configs/digits/vp_small.py", SHORT)
        else:
            workdir = Path(work.weights or self.model.run)
            config = kinds.load(self.model.config, self.model.overrides(work))
        status = modes.run("train", modes.Command(config, workdir))
        if status:  # it was interrupted, said so, and goes on by the same command
            raise SystemExit(status)
        log = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        figure, axis = pyplot().subplots(figsize=(7.5, 5.2), layout="constrained")
        for name, label in LOGGED.items():
            steps = [row["step"] for row in log if name in row]
            if steps:
                axis.plot(steps, [row[name] for row in log if name in row], label=label)
        axis.set(xlabel="step", title="loss", yscale="log")
        axis.legend()
        axis.grid(alpha=0.3)
        work.plot("loss", figure)

    def needs(self) -> str:
        return f"images of {self.model.title}; all steps of {self.model.config}, days on one GPU"


# A training of seconds.
SHORT = {
    "model.nf": 16, "model.ch_mult": (1,), "model.attn_resolutions": (), "model.patch_size": 4,
    "training.steps": 40, "training.batch_size": 16, "training.microbatch": "16",
    "training.log_every": 5, "training.checkpoint_every": 40, "training.draw_every": 0,
    "training.evaluate_every": 20, "training.evaluate_examples": 32,
}  # fmt: skip
LOGGED = {"loss": "training", "held_out_loss": "held out, averaged parameters"}
