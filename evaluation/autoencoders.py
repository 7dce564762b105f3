"""Evaluation of an autoencoder: held-out images beside what it makes of them.

    <report>/report.json           loss and its parts, PSNR, FID and KID of reconstructions
    <report>/reconstructions.png   images, each beside what is made of it

Images are encoded by the mean of the posterior. Reconstructions are compared with the same held-out
images, as published autoencoders are; the loss is that of the training, float32.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from data import CENTERED, Source, Transform
from evaluation.examples import Examples, Losses
from evaluation.image_models import held_out_of
from evaluation.options import MOST, check_checkpoints
from evaluation.places import Places
from metrics import distances, extractors
from metrics.extractors import MissingWeights
from metrics.features import FeatureExtractor, extract
from metrics.pixels import psnr
from metrics.report import Figure, Report
from metrics.resumable import fingerprint
from metrics.statistics import Statistics
from options.choices import choose, require_non_negative
from options.errors import within
from options.fields import hidden
from options.memory import AUTO, Batched
from options.precision import FLOAT32
from options.progress import busy, progress_bar
from storage.pictures import Panel, drawn, write_png
from tasks.autoencoder import AutoencoderTask
from tasks.task import Context

PyTree = Any
SHOWN = 24  # images of the picture
COLUMNS = 3  # pairs of them in a row
Images = UInt8[np.ndarray, "n h w c"]


@dataclasses.dataclass(frozen=True)
class AutoencoderEvalOptions(Batched):
    """On how many images an autoencoder is judged, and how.

    Attributes:
      checkpoints: "latest", "all", or step numbers with commas between them.
      batch_size: images at once; no figure depends on it; "auto": as many as in other evaluations.
      max_images: of those held out; 0 for all.
      samples: whether reconstructions are compared by features, too.
      extractor, weights: by which; see `evaluation.options.EvalOptions`.
      metrics: distances with commas between them, of `metrics.distances.DISTANCES`.
    """

    checkpoints: str = "latest"
    batch_size: str | int = AUTO
    max_images: int = 0
    samples: bool = True
    extractor: str = extractors.AUTO
    weights: str = ""
    metrics: str = distances.DEFAULT
    seed: int = hidden(0)

    def __post_init__(self) -> None:
        check_checkpoints(self.checkpoints)
        choose({extractors.AUTO: None, **extractors.EXTRACTORS}, self.extractor, "extractor")
        distances.parse(self.metrics)
        self.at_once  # noqa: B018  its own check
        require_non_negative(self, "max_images")


@dataclasses.dataclass(frozen=True, eq=False)
class AutoencoderSubject:
    """What is evaluated, and on what: everything but parameters. judge: see `image_models`."""

    task: AutoencoderTask
    train: Source
    held_out: Source
    transform: Transform
    judge: str = ""

    def images(self, numbers: np.ndarray) -> Images:
        """Held-out images at the model's size, in the order of the source."""
        plain = self.transform.for_evaluation()
        return np.stack([plain.resized(x) for x in self.held_out.take(numbers)["image"]])


def reconstructions(network: Any, params: PyTree, images: Images, size: int) -> Images:
    """What an autoencoder makes of images, `size` at a time."""
    program, found = jax.jit(lambda params, x: network.apply({"params": params}, x)), []
    with FLOAT32.context():
        for start in range(0, len(images), size):
            numbers = np.minimum(np.arange(start, start + size), len(images) - 1)
            x = program(params, jnp.asarray(CENTERED.encode(images[numbers])))
            found.append(CENTERED.decode(x)[: len(images) - start])
    return np.concatenate(found)


def evaluate(
    subject: AutoencoderSubject,
    params: PyTree,
    step: int,
    options: AutoencoderEvalOptions,
    places: Places,
) -> Report:
    """The report on one set of parameters, written to its place with its picture."""
    extractor = _extractor(subject, options)
    size, count = options.at_once or MOST, len(subject.held_out)
    count = min(count, options.max_images) if options.max_images else count
    numbers = np.random.default_rng(options.seed).permutation(len(subject.held_out))[:count]
    figures = _losses(subject, params, options.seed, count, size)
    with busy("reconstructions"):
        images = subject.images(np.sort(numbers))
        made = reconstructions(subject.task.network, params, images, size)
    each = [psnr(a / 255, b / 255) for a, b in zip(images, made, strict=True)]
    name = subject.held_out.name
    figures.append(Figure.mean("psnr", np.array(each), reference=name))
    if extractor is not None:
        of = (("reconstructions", made), (name, images))
        found = [_statistics(extractor, called, each, size) for called, each in of]
        made_of, real = found
        figures += distances.distances(made_of, real, distances.parse(options.metrics))
    write_png(places.report / "reconstructions.png", drawn(beside(images[:SHOWN], made[:SHOWN])))
    about = {
        "checkpoint": step,
        "parameters": fingerprint(jax.tree.leaves(params)),
        "parameter_count": sum(x.size for x in jax.tree.leaves(params)),
        "network": repr(subject.task.network),
        "held_out": held_out_of(subject),
        "seed": options.seed,
    }
    report = Report(about, figures)
    report.write(places.report / "report.json")
    return report


def _extractor(
    subject: AutoencoderSubject, options: AutoencoderEvalOptions
) -> FeatureExtractor | None:
    """By which reconstructions are judged; None where that is not asked for, or said."""
    if not options.samples:
        return None
    try:
        found = extractors.load(options.extractor, options.weights, subject.judge)
    except MissingWeights as error:
        if options.extractor != extractors.AUTO:
            raise
        print(f"no FID or KID of reconstructions: {error}")
        return None
    with within("", images="extractor"):
        found.check(subject.task.shape)
    return found


def _losses(
    subject: AutoencoderSubject, params: PyTree, seed: int, count: int, size: int
) -> list[Figure]:
    """The loss of held-out images and its parts, the latter not weighted."""
    losses = Losses(subject.task)
    examples = Examples(subject.held_out, subject.transform.for_evaluation(), seed)
    context, found = Context(params, frozen=losses.task.frozen), []
    with progress_bar(desc="loss", total=count, unit="image", leave=False) as bar:
        for start in range(0, count, size):
            numbers = np.minimum(np.arange(start, start + size), count - 1)
            values = losses(context, examples, numbers)
            wanted = min(size, count - start)
            found.append({k: np.asarray(v, np.float64)[:wanted] for k, v in values.items()})
            bar.update(wanted)
    name = subject.held_out.name
    return [
        Figure.mean(part, np.concatenate([values[part] for values in found]), reference=name)
        for part in found[0]
    ]


def _statistics(extractor: FeatureExtractor, name: str, images: Images, size: int) -> Statistics:
    return Statistics.of(extractor, name, extract(extractor, images, size).features)


def beside(images: Images, made: Images) -> Panel:
    """Images, each beside what is made of it, COLUMNS pairs a row."""
    pairs = np.stack([images, made], axis=1)
    rows = -(-len(pairs) // COLUMNS)
    order = np.arange(rows * COLUMNS).reshape(rows, COLUMNS)
    filled = np.repeat(order < len(pairs), 2, axis=1)
    shown = pairs[np.minimum(order, len(pairs) - 1)].reshape(rows, 2 * COLUMNS, *images.shape[1:])
    return Panel(shown, ("image", "again") * COLUMNS, filled=None if filled.all() else filled)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawReconstructions:
    """What the training loop draws at intervals: held-out images, each beside what the average
    makes of it.

    Attributes:
      subject: read when something is first drawn. count: images.
    """

    network: Any
    subject: Callable[[], AutoencoderSubject]
    count: int

    def __call__(self, params: PyTree) -> dict[str, np.ndarray]:
        subject = self.subject()
        count = min(self.count, len(subject.held_out))
        spread = np.linspace(0, len(subject.held_out) - 1, count).astype(int)
        images = subject.images(spread)
        made = reconstructions(self.network, params, images, count)
        return {"reconstructions": drawn(beside(images, made))}
