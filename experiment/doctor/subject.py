"""What is examined: an experiment, and what the checks need to see of its data and its machine."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8

from data import Source
from data.folder_scan import Outcome
from data.source import Records
from data.transforms import height_width, resize
from experiment.experiment import Experiment, Trained
from options.errors import UserError
from training.trial import Trial, trial

MOST_NUMBERS = 2**29  # of examples that are looked at, at the model's size
BLOCK = 64  # examples that are read at a time
THUMBNAIL = 32  # pixels of the longer side of what is compared for near copies


@dataclasses.dataclass(frozen=True)
class Request:
    """What a user asks of an examination.

    Attributes:
      checks: names between commas, "all" for those of the table, "module:Class" for one's own.
      measure: compile the training step, and time some.
      price: of an hour of the machine, in whatever currency; 0 for none.
      examples: of each split that are looked at, chosen at random; 0 for all.
    """

    checks: str = "all"
    measure: bool = False
    price: float = 0.0
    examples: int = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
    """Some examples of a split: their numbers in it, and records, of images at the model's size."""

    source: Source
    indices: Int[np.ndarray, "n"]
    records: Records

    def keys(self, rows: Any) -> list[str]:
        """What the examples in these rows are known by: numbers, or names of files."""
        return [self.source.key(int(self.indices[row])) for row in rows]

    def __len__(self) -> int:
        return len(self.indices)


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """An experiment under examination. Whatever reads the disk is read once, when first asked for.

    Attributes:
      trained: a workdir or weights that the command names; None for a configuration alone.
    """

    experiment: Experiment
    request: Request = Request()
    trained: Trained | None = None

    @property
    def options(self) -> Any:
        """The sections of the configuration, as objects."""
        return self.experiment.options

    def get(self, path: str, default: Any = None) -> Any:
        """A field of the options by its dotted name; the default where a kind has none."""
        value = self.options
        for part in path.split("."):
            value = getattr(value, part, None)
        return default if value is None else value

    @property
    def sampling(self) -> Any:
        """How it is sampled; None of a classifier."""
        return self.get("sampling")

    @property
    def process(self) -> Any:
        """The noising process; None where a kind of experiment has none."""
        return getattr(self.experiment, "process", None)

    @property
    def num_classes(self) -> int:
        """Classes that the network is conditioned on, or tells apart; 0 for none."""
        labels = getattr(self.experiment, "labels", None)
        return getattr(labels or self.get("model"), "num_classes", 0)

    def named(self, path: str) -> str:
        """The name that is chosen in a section, "" where there is no such section."""
        section: Any = self.experiment.config
        for part in path.split("."):
            section = section.get(part) if hasattr(section, "get") else None
        return section.get("name", "") if hasattr(section, "get") else ""

    # The data.

    @property
    def train(self) -> Source:
        """What is trained on."""
        return self.experiment.plain_train

    @functools.cached_property
    def held_out(self) -> Source | None:
        """What is held out of training; None where nothing is, or it cannot be read."""
        try:
            found = self.experiment.plain_held_out
        except UserError:
            return None
        return None if found is self.train else found

    @functools.cached_property
    def looked(self) -> Looked:
        """Training examples that are looked at."""
        return self._look(self.train)

    @functools.cached_property
    def looked_held_out(self) -> Looked | None:
        """Held-out examples that are looked at."""
        return self._look(self.held_out) if self.held_out is not None else None

    def _look(self, source: Source) -> Looked:
        """As many examples as are asked for, and as the memory allows."""
        fit = max(2, MOST_NUMBERS // math.prod(self.experiment.transform.shape(source)))
        count = min(self.request.examples or fit, fit, len(source))
        chosen = np.sort(np.random.default_rng(0).choice(len(source), count, replace=False))
        parts: list[Any] = []
        for rows in np.array_split(chosen, -(-count // BLOCK)):
            parts.append(source.take(rows))
            if self.is_of_images:
                images = [self.experiment.prepared(x) for x in parts[-1]["image"]]
                parts[-1]["image"] = np.stack(images)
        records: Any = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        return Looked(source, chosen, records)

    @functools.cached_property
    def is_of_images(self) -> bool:
        """Whether the data are 8-bit images."""
        return self.train.is_images and self.train.dtype == np.uint8

    @functools.cached_property
    def images(self) -> UInt8[np.ndarray, "n h w c"]:
        """The training images that are looked at, at the model's size."""
        return self._images(self.looked)

    @functools.cached_property
    def images_held_out(self) -> UInt8[np.ndarray, "n h w c"]:
        """The same of held-out images."""
        return self._images(self.looked_held_out)

    def _images(self, looked: Looked | None) -> UInt8[np.ndarray, "n h w c"]:
        if looked is None or not self.is_of_images:
            return np.zeros((0, 1, 1, 1), np.uint8)
        return np.asarray(looked.records["image"])

    @functools.cached_property
    def states(self) -> Float32[np.ndarray, "n channels"]:
        """The coordinates that the process moves, of the training examples that are looked at: a
        row for each place, less the padding."""
        transform = self.experiment.transform.for_evaluation()
        transform = dataclasses.replace(transform, dequantize=False)
        batch = transform(self.looked.records, range(len(self.looked)), 0)
        x = batch["image"]
        real = np.broadcast_to(batch.get("mask", True), x.shape)[..., 0]
        return x[real]

    @property
    def files(self) -> Mapping[str, Outcome]:
        """What decoding each file of a training folder gave, by name; none of other data."""
        return getattr(self._innermost, "outcomes", {})

    @property
    def folder(self) -> str:
        """That `files` are below, with a "/" behind; "" for other data."""
        root = getattr(self._innermost, "root", None)
        return f"{root}/" if root else ""

    @property
    def _innermost(self) -> Any:
        """The source that the training set is a part of, or is made of."""
        source: Any = self.train
        while hasattr(source, "source"):
            source = source.source
        return source

    @functools.cached_property
    def trial(self) -> Trial:
        """Some steps of the training. Compiles."""
        return trial(self.experiment.task, self.experiment.loader(), self.experiment.training)


def thumbnails(images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h2 w2 c"]:
    """Images of which the longer side is at most THUMBNAIL, by means over rectangles."""
    if not len(images):
        return images
    height, width = images.shape[1:3]
    scale = min(1.0, THUMBNAIL / max(height, width))
    size = height_width((max(1, round(scale * height)), max(1, round(scale * width))))
    return np.stack([resize(image, size, cut=False, by="box") for image in images])
