"""What is measured of a model while it trains; see `training.measurements.Measurement`.

Both measure what `--mode eval` reports of a checkpoint, on fewer examples, by the same code and
under the same noise: at the same step with equal counts they give its numbers.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float

from data import Source, Transform
from evaluation.examples import Examples, Losses, on_devices
from evaluation.image_models import Subject, warn_of_unfinished
from metrics.features import FeatureExtractor, extract
from metrics.fid import Moments, frechet_distance
from metrics.quality import Judge
from options.progress import bar_updater, progress_bar
from tasks.task import Context, Task

Values = dict[str, Float[np.ndarray, "n"]]
LEVEL = "level"  # of the noise on an example, which says nothing of the model


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutLoss:
    """The loss of held-out examples beside that of training examples, and whatever else the task
    says of each, such as whether a classifier is right.

    Both are `count` examples, without dropout, flips or augmentation, and the same ones under the
    same noise at every step. Example i of either has one key, thus one time and noise:

        loss_gap = mean_i (held-out loss_i - training loss_i),  loss_gap_error its standard error

    Where the gap grows past its error the model overfits.

    Attributes:
      every: see `Measurement`. most: examples of each; fewer where there are fewer.
    """

    task: Task
    train: Source
    held_out: Source
    transform: Transform
    seed: int
    every: int
    most: int
    field: ClassVar[str] = "training.evaluate_every"
    metric: ClassVar[str] = "held_out_loss"
    is_heavy: ClassVar[bool] = False

    @property
    def count(self) -> int:
        """How many examples of each."""
        return min(self.most, len(self.train), len(self.held_out))

    @property
    def about(self) -> str:
        """See `Measurement`."""
        held_out, train = self.held_out.name, self.train.name
        return f"the loss of {self.count} examples each: {held_out}; {train}"

    def __call__(self, context: Context, at_once: int) -> dict[str, float]:
        """The means by name, as in {"held_out_loss": 0.2, "training_loss": 0.1, ...}."""
        devices = jax.local_device_count()
        size = math.ceil(min(at_once, self.count / devices)) * devices
        params, frozen = on_devices((context.params, context.frozen), size)
        context = context._replace(params=params, ema=params, frozen=frozen)
        held_out, train = (self._values(context, part, size) for part in self._parts)
        found: dict[str, Any] = {}
        for name in ("loss", *sorted(held_out.keys() - {"loss", LEVEL})):
            found[f"held_out_{name}"] = held_out[name].mean()
            found[f"training_{name}"] = train[name].mean()
        gap = held_out["loss"] - train["loss"]
        found["loss_gap"] = gap.mean()
        if len(gap) > 1:
            found["loss_gap_error"] = gap.std(ddof=1) / math.sqrt(len(gap))
        return {name: float(value) for name, value in found.items()}

    @functools.cached_property
    def _losses(self) -> Losses:
        return Losses(self.task)

    @functools.cached_property
    def _parts(self) -> tuple[Examples, Examples]:
        transform = self.transform.for_evaluation()
        held_out, train = (Examples(s, transform, self.seed) for s in (self.held_out, self.train))
        return held_out, train

    def _values(self, context: Context, examples: Examples, size: int) -> Values:
        """Of each of the first `count` examples, `size` at a time; float64."""
        found = []
        for start in range(0, self.count, size):
            # The last batch is filled up with an example that is dropped: one program serves all.
            numbers = np.minimum(np.arange(start, start + size), self.count - 1)
            values = self._losses(context, examples, numbers)
            wanted = min(size, self.count - start)
            found.append({k: np.asarray(v, np.float64)[:wanted] for k, v in values.items()})
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


@dataclasses.dataclass(frozen=True, eq=False)
class SampleFID:
    """FID of unguided samples, drawn with the same noise at every step, to the training set.

    Attributes:
      subject: what is sampled and compared. count: samples. folder: where the features of the
        training set are kept, as those of an evaluation are. batch_size: of features.
    """

    subject: Subject
    extractor: FeatureExtractor
    folder: Path
    seed: int
    every: int
    count: int
    batch_size: int
    field: ClassVar[str] = "training.fid_every"
    metric: ClassVar[str] = "fid"
    is_heavy: ClassVar[bool] = True

    @property
    def about(self) -> str:
        """See `Measurement`."""
        by, of = self.extractor, f"FID of {self.count} samples to {self.subject.train.name}"
        return ", ".join(part for part in (f"{of}, by {by.identity}", by.about) if part)

    def __call__(self, context: Context, at_once: int) -> dict[str, float]:
        """{"fid": the distance}; as many samples are drawn at once as anywhere."""
        generator = self.subject.generator
        network = self._subject.task.predictor(jax.device_put(context.params))
        predict = generator.sampler.prepared(network)
        with progress_bar(desc="samples for FID", leave=False) as bar:
            made = generator.draw(
                predict, jax.random.key(self.seed), self._labels, progress=bar_updater(bar)
            )
        warn_of_unfinished(made.ok)
        features = extract(self.extractor, made.data, self.batch_size, progress=False).features
        return {"fid": frechet_distance(Moments.of(np.asarray(features)), self._of_train)}

    @functools.cached_property
    def _subject(self) -> Subject:
        return self.subject.without_training_noise()

    @functools.cached_property
    def _labels(self) -> np.ndarray:
        return self.subject.labels(self.count)

    @functools.cached_property
    def _of_train(self) -> Moments:
        train = self._subject.image_set(self.subject.train)
        judge = Judge(self.extractor, train, None, self.folder, batch_size=self.batch_size)
        return judge.of_train().moments
