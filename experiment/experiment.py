"""An experiment: the objects that a configuration describes, each built once.

Everything downstream takes these objects, or plain arguments; nothing else reads a configuration.
A kind of task is one subclass, a line in `experiment.kinds`: it says what a configuration of it
has (`settings`), what it trains (`task`), what must hold between its parts (`check`), and how it is
evaluated (`evaluate`).
"""

import dataclasses
import functools
import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from ml_collections import ConfigDict

from data import Loader, Source, Transform, resized
from data.buckets import Buckets
from data.source import hold_out
from evaluation.measurements import HeldOutLoss
from evaluation.options import ALL, asked_for
from evaluation.places import Places
from experiment import checks, configuration, sections
from metrics.report import Report
from metrics.resumable import fingerprint
from options.errors import InvalidValue, StorageError, UserError, Words, within
from options.progress import busy
from options.project import find, nearest
from storage import checkpoint, weights
from storage.files import cache_folder
from storage.outputs import spelled
from storage.workdir import require_folder
from tasks.task import Task
from training import loop
from training.loop import TrainOptions
from training.measurements import Measurement

logger = logging.getLogger(__name__)
PyTree = Any
PlacesOf = Callable[[PyTree, int], Places]  # of the evaluation of (parameters, step)
SPLIT = {"split"}  # what a source calls the part of the data that it is asked for


class Experiment(ABC):
    """What a complete configuration describes."""

    settings: type  # the dataclass that its configuration has
    kind: str  # its name in `experiment.kinds.KINDS`
    draws_samples = False
    writes = False

    def __init__(self, config: ConfigDict) -> None:
        """InvalidValue, with the name of the field, for a value that its class refuses."""
        self.config = config
        self.options = sections.make(self.settings, config)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The experiment of sparse sections of this kind of task."""
        return cls(sections.complete(cls.settings, configuration.without_task(given)))

    # What a kind of task defines.

    @property
    @abstractmethod
    def task(self) -> Task:
        """What is trained."""

    @abstractmethod
    def check(self) -> None:
        """InvalidValue where the parts do not go together; reads no data, compiles nothing."""

    @abstractmethod
    def evaluate(self, trained: "Trained", places: PlacesOf) -> dict[int, Report]:
        """Reports by step, each written to its place as it is done."""

    # What all have.

    def check_all(self, num_devices: int) -> None:
        """InvalidValue for an experiment that cannot work on this many devices in all."""
        chosen = configuration.without_task(checks.choices_in(self.config))
        checks.check_numbers(self.config, sections.complete(self.settings, chosen))
        checks.check_data(self)
        loop.examples_per_device(self.training, num_devices)
        self.shape  # noqa: B018  of latents, by their autoencoder
        self.check()
        self.task  # noqa: B018  its own checks

    @property
    def space(self) -> Any:
        """Between the values that a user sees and the states of the process."""
        return self.options.data.space

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the states of an example, which the network sees."""
        with within("data.space"):
            return self.space.shape(self.example_shape)

    @functools.cached_property
    def example_shape(self) -> tuple[int, ...]:
        """Of one example at the model's size; where the configuration is silent, of the data."""
        size = self.options.data.size
        if size is not None:
            return (*size, self.options.data.num_channels)
        with within("data"):
            return self.transform.shape(self.train_source)

    @functools.cached_property
    def transform(self) -> Transform:
        """What is made of an example on its way into a batch."""
        with within("data", flip="random_flip", probability="augment"):
            return self.options.data.transform

    def _read(self, field: str) -> Source:
        """The examples of the split that a field of `data` names."""
        options = self.options.data
        try:
            with busy("reading the data"):
                found = options.reader.read(getattr(options, field))
        except UserError as error:
            section = "data" if error.field in SPLIT else "data.source"
            with within(section, split=field):
                raise
        self.check_source(found)
        return (
            found.with_images(self._resized)
            if options.keep_resized and found.is_of_files
            else found
        )

    def _resized(self, found: Source) -> Source:
        """Images that are kept resized on disk, where that can be."""
        folder = cache_folder() / "images"
        if not self.transform.resizes(found) or not resized.fits(found, self.transform, folder):
            return found
        if lost := self.transform.loss_of_cropping(found):
            logger.warning(lost)
        return resized.Resized(found, self.transform, folder)

    @functools.cached_property
    def _parts(self) -> tuple[Source, Source | None]:
        """See `_parts_of`."""
        return self._parts_of(self._read("train_split"))

    def _parts_of(self, found: Source) -> tuple[Source, Source | None]:
        """What is trained on of the training split, and what is held out of it: the same where
        nothing is, None where that is a split of its own."""
        options = self.options.data
        if options.eval_split == options.train_split or (found.unsplit and not options.holdout):
            return found, found
        if not found.unsplit:
            return found, None
        with within("data"):
            return hold_out(found, options.holdout)

    def check_source(self, found: Source) -> None:
        """InvalidValue where the data are not what the configuration says."""
        with within("data", flip="random_flip"):
            self.transform.check(found)
            channels = self.options.data.num_channels
            if self.options.data.size is not None and found.channels != channels:
                raise InvalidValue(
                    "num_channels", channels, but=f"{found.name} has {found.channels}"
                )
            names = self.options.data.class_names
            if names and found.class_names != names:
                pairs = enumerate(itertools.zip_longest(names, found.class_names))
                label, (own, theirs) = next((i, p) for i, p in pairs if p[0] != p[1])
                but = f"{found.name} has {theirs!r}"
                raise InvalidValue("class_names", Words(f"{own!r} as class {label}"), but=but)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the data that the model is trained on, as far as they are known without reading."""
        data = self.options.data
        return data.class_names or getattr(data.source, "class_names", ())

    def said_by_data(self) -> dict[str, Any]:
        """Fields, by dotted name, that a run takes from the data that it is trained on, beside
        those that its parts are made of; see `experiment.from_data`."""
        return {"data.class_names": self.train_source.class_names}

    @property
    def sets_aside(self) -> bool:
        """Whether some of the examples of the training split are held out."""
        found, held_out = self._parts
        return held_out is not None and held_out is not found

    @property
    def train_source(self) -> Source:
        """What is trained on. Reads the disk."""
        return self._parts[0]

    @functools.cached_property
    def held_out(self) -> Source:
        """What evaluations are made on; `train_source` where nothing is held out. Reads the
        disk."""
        of_train = self._parts[1]
        return self._read("eval_split") if of_train is None else of_train

    @property
    def plain_train(self) -> Source:
        """`train_source` without what a task adds to its examples, to look at. Reads the disk."""
        return self.train_source

    @property
    def plain_held_out(self) -> Source:
        """`held_out`, likewise."""
        return self.held_out

    def loader(self) -> Loader:
        """The stream of training batches of this host. Reads the disk."""
        folder = cache_folder() / "latents"
        source, transform = self.space.for_training(self.train_source, self.transform, folder)
        return Loader(
            source,
            self.options.training.batch_size,
            transform,
            seed=self.options.seed,
            host=jax.process_index(),
            num_hosts=jax.process_count(),
            buckets=self.buckets(),
        )

    def buckets(self) -> Buckets | None:
        """How examples of like length are gathered into batches; None where they are not. Reads the
        disk."""
        return None

    def prepared(self, example: np.ndarray) -> np.ndarray:
        """An example of a source at the model's size, as an evaluation sees it."""
        return self.transform.for_evaluation().resized(example)

    @functools.cached_property
    def training(self) -> TrainOptions:
        """How the training loop goes."""
        options = self.options
        with within("optim"):
            optimizer = options.optim.for_run(options.training.steps)
        with within("training"):
            return dataclasses.replace(
                options.training, seed=options.seed, optimizer=optimizer, ema=options.ema
            )

    def measurements(self, folder: Path) -> list[Measurement]:
        """What is measured while training, by what evaluations keep in `folder`. Reads the disk.

        What the data do not allow is said and left out.
        """
        options = self.options.training
        if not options.evaluate_every:
            return []
        train, why = self.train_source, ""
        try:
            if self.held_out is train:
                why = f"nothing of {train.name} is held out (data.holdout, data.eval_split)"
        except UserError as error:
            why = str(error)
        if why:
            print(f"no loss of held-out examples: {why}")
            return []
        seed, every, most = self.options.seed, options.evaluate_every, options.evaluate_examples
        return [HeldOutLoss(self.task, train, self.held_out, self.transform, seed, every, most)]

    @functools.cached_property
    def evaluation(self) -> Any:
        """What an evaluation computes."""
        return dataclasses.replace(self.options.eval, seed=self.options.seed)

    def record(self, params: PyTree) -> dict[str, Any]:
        """What an exported file remembers of its parameters, beside configuration and step."""
        return {}

    @functools.cached_property
    def template(self) -> PyTree:
        """Shapes of the parameters."""
        return jax.eval_shape(self.task.init, jax.random.key(0))


@dataclasses.dataclass(frozen=True)
class Trained:
    """Where the parameters of an experiment are: exported weights, or the checkpoints of a run.

    weights: a file, in place of the workdir's checkpoints; None for these.
    """

    workdir: Path
    weights: Path | None = None

    @property
    def place(self) -> Path:
        """The file, or the workdir."""
        return self.weights or self.workdir

    def require(self) -> None:
        """StorageError where there are no parameters; reads none."""
        if self.weights is not None:
            weights.require_file(self.weights)
        else:
            require_folder(self.workdir)
            checkpoint.require_some(self.workdir / "checkpoints")

    def name_of(self, params: PyTree, step: int) -> str:
        """Of parameters that were read from here, for folders: "step_544", or of a file
        "digits-1a2b3c4d", with a checksum of them."""
        if self.weights is None:
            return f"step_{step}"
        return f"{spelled(self.weights.stem)}-{fingerprint(jax.tree.leaves(params))}"

    def params(self, template: PyTree) -> PyTree:
        """The averaged parameters, of the newest checkpoint or of the file."""
        if self.weights is not None:
            return weights.load_weights(self.weights, template)
        return weights.load_run(self.workdir, template)[0]

    def chosen(self, checkpoints: str, template: PyTree) -> Iterator[tuple[PyTree, int]]:
        """(averaged parameters, step): of the file, or of the checkpoints that are asked for.

        checkpoints: "latest", "all", or steps as in "1000,2000".
        """
        if self.weights is not None:
            read = weights.load_weights(self.weights, template)
            yield read, weights.read_step(self.weights)
            return
        for step in asked_for(checkpoints, self.workdir / "checkpoints"):
            try:
                yield weights.load_run(self.workdir, template, step)
            except StorageError:
                gone = step is not None and not (self.workdir / "checkpoints" / str(step)).exists()
                if checkpoints != ALL or not gone:
                    raise
                print(
                    f"step {step}: its checkpoint was removed meanwhile; the others are evaluated"
                )


def at(where: str | Path, field: str = "weights") -> Trained:
    """The parameters in exported weights or in a workdir; `field` is the one that names it."""
    try:
        path = find(where)
    except TypeError:
        raise InvalidValue(field, where, "a path, or the name of weights") from None
    if not path.exists():
        expected = f"exported weights or a workdir{nearest(path)}"
        raise InvalidValue(field, str(where), expected, but="there is none")
    return Trained(path, path) if path.is_file() else Trained(path)
