"""Evaluation: averaged parameters -> loss, likelihood, bound, FID, KID, legibility, memorisation.

    <report>/report.json          every figure, with what it was computed from
    <report>/samples.png          the first hundred samples
    <rows>/<part>-<hash>/         rows by example; what is cut off goes on from them
    <reference>/<part>-<hash>/    features of the data set

in the three folders of `evaluation.places.Places`.

Every example of the set counts once. All randomness is keyed by an example's number, so that no
figure depends on the batch size, and checkpoints are compared under the same noise. Bits/dim, FID
and what else looks at images are of 8-bit pixels; of other data the loss is given, and the
log-likelihood in nats per dimension.
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

import likelihood
import variational_bound
from data import Source, Transform
from evaluation.bound import BoundOfChain
from evaluation.examples import LOSS, Examples, Losses
from evaluation.options import MOST, EvalOptions
from evaluation.places import Places
from generation.guide import Guide
from generation.sampler import Generator
from likelihood import LogLikelihood, importance_bound, log_likelihood
from metrics import distances, extractors, published_statistics
from metrics.extractors import MissingWeights
from metrics.features import FeatureExtractor
from metrics.quality import ImageSet, Judge, Labelled
from metrics.report import Figure, Report
from metrics.resumable import ALONE, Resumable, Rows, Share, fill, fingerprint
from metrics.statistics import Statistics
from options.choices import (
    require,
)
from options.memory import AUTO, fitting
from options.progress import Progress, bar_updater, busy, part_of, progress_bar
from options.project import find, nearest
from parameterization import MASK, Predictor
from sde_lib import dimensions
from storage import shards
from storage.pictures import by_class, drawn, write_png
from tasks.conditions import draw as draw_conditions
from tasks.image import ImageTask
from tasks.task import Context
from variational_bound import Chain

PyTree = Any
DIGITS = tuple("0123456789")
# Purposes of the keys of likelihood and bound, see `evaluation.examples`.
PROBE, CONDITION, BOUND = 1, 2, 3
LIKELIHOOD_SOLVER = "Dormand-Prince 5(4)"
SHOWN = 100  # samples, of which there is a picture


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """What is evaluated, and on what: everything but parameters.

    train: what samples are compared with. held_out: what loss and bits/dim are of; `train` itself
      where nothing is held out.
    transform: as in training; dequantised for bits/dim whatever it says.
    guide: of samples towards their classes; None for none. Loss and bits/dim are the model's own.
    judge: the extractor that was made for these data; "" for none.
    chain: whose variational bound is evaluated; None for none.
    """

    task: ImageTask
    generator: Generator
    train: Source
    held_out: Source
    transform: Transform
    guide: Guide | None = None
    judge: str = ""
    chain: Chain | None = None

    def extractor(self, options: EvalOptions) -> FeatureExtractor:
        """The feature network that samples are judged by; InvalidValue for one of other images."""
        found = extractors.load(options.extractor, options.weights, self.judge)
        found.check(self.image_shape)
        return found

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of an example at the model's size."""
        return self.transform.shape(self.train)

    def reference(self, options: EvalOptions, by: FeatureExtractor) -> Statistics | None:
        """What samples are compared with; None for the training set."""
        if not options.reference:
            return None
        path = find(options.reference)
        require(path.is_file(), "reference", str(path), f"a file{nearest(path)}")
        return published_statistics.load(path, by, options.reference_by)

    def image_set(self, source: Source) -> ImageSet:
        """The images of a source at the model's size, as uint8."""
        transform = self.transform.for_evaluation()

        def read(indices: Int[np.ndarray, "b"]) -> Labelled:
            records = source.take(indices)
            return np.stack([transform.resized(x) for x in records["image"]]), records["label"]

        return ImageSet(source.name, len(source), read)

    def labels(self, count: int) -> Int[np.ndarray, "n"]:
        """Classes of so many samples, as often as in the training data."""
        if not self.generator.num_classes:
            return self.generator.labels(count)
        return in_shares(self.train.class_counts(), count)

    def without_training_noise(self) -> "Subject":
        """No dropout, hidden labels, flips or augmentation."""
        transform = self.transform.for_evaluation()
        return dataclasses.replace(self, task=self.task.for_evaluation(), transform=transform)


def evaluate(
    subject: Subject, params: PyTree, step: int, options: EvalOptions, places: Places
) -> Report:
    """The report on one set of parameters, written to its place."""
    extractor, reference = None, None
    if options.samples and subject.transform.space.of_images:
        try:
            extractor = subject.extractor(options)
            reference = subject.reference(options, extractor)
        except MissingWeights as error:
            if options.extractor != extractors.AUTO:
                raise
            print(f"no FID, KID or other figures of samples: {error}")
    subject = subject.without_training_noise()
    share = Share(jax.process_index(), jax.process_count())
    work = _Work(subject, params, step, options, extractor, places, reference, share)
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    if options.loss:
        figures += work.loss()
    if options.likelihood:
        figures += work.likelihood()
    if subject.chain is not None:
        found, terms = work.bound()
        figures += found
        details |= terms
    if extractor is not None:
        found, of_samples = work.samples()
        figures += found
        details |= of_samples
    report = Report(work.about(), figures, details)
    if share.host == 0:
        report.write(places.report / "report.json")
    return report


def identity_of(source: Source) -> dict[str, Any]:
    """What rows depend on that are of examples of a source."""
    with busy(f"reading {source.name}"):
        return {"images": source.name, "count": len(source), "checksum": source.checksum()}


def held_out_of(subject: Any) -> str:
    """What a report says of what its subject holds out."""
    if subject.held_out is subject.train:
        return "nothing: what is said of held-out examples is of those trained on"
    return f"{subject.held_out.name} ({len(subject.held_out)})"


def in_shares(counts: Int[np.ndarray, "m"], count: int) -> Int[np.ndarray, "n"]:
    """`count` classes, int32, of which any first few have the shares of `counts`, to within one.

    Each is the one that lacks most; where all are as frequent, 0, 1, ... in turn.
    """
    total, drawn = counts.sum(), np.zeros(len(counts), np.int64)
    labels = np.empty(count, np.int32)
    for i in range(count):
        labels[i] = k = np.argmax(counts * (i + 1) - total * drawn)
        drawn[k] += 1
    return labels


def in_turn(labels: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """The order of samples that has the first of each class, then the second of each, ..."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    return order[np.lexsort((labels[order], np.arange(len(labels)) - starts))]


def warn_of_unfinished(ok: Bool[np.ndarray, "n"]) -> None:
    """A warning where samples did not reach the end of the grid."""
    if not ok.all():
        warnings.warn(f"{np.sum(~ok)} samples did not reach the end of the grid", stacklevel=2)


def error_parts(
    total: Figure, probe_error: Float[np.ndarray, "n"], about: dict[str, Any]
) -> list[Figure]:
    """What part of a mean's standard error is the probes', and what part the data's.

        total^2 = probe^2 + data^2,   probe^2 = sum_i error_i^2 / n^2

    error_i being the standard error of the value of image i, from the spread of its own probes. A
    single probe shows none, so there is then no telling the parts apart, and no figures. `data` is
    what is left, 0 where chance makes it negative: the choice of the images and of their
    dequantisation.
    """
    if total.standard_error is None or not np.all(np.isfinite(probe_error)):
        return []
    probe = float(np.sqrt(np.sum(probe_error**2)) / len(probe_error))
    data = math.sqrt(max(0.0, total.standard_error**2 - probe**2))
    return [
        Figure("bits_per_dim_error_of_probes", probe, total.samples, **about),
        Figure("bits_per_dim_error_of_data", data, total.samples, **about),
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class _Work:
    """One evaluation: each method gives the figures of one part."""

    subject: Subject
    params: PyTree
    step: int
    options: EvalOptions
    extractor: FeatureExtractor | None
    places: Places
    reference: Statistics | None = None
    share: Share = ALONE

    @property
    def predict(self) -> Predictor:
        return self.subject.task.predictor(self.params)

    @functools.cached_property
    def sampled(self) -> Predictor:
        """What samples are drawn with: the model, guided if that is asked for."""
        guide = self.subject.guide
        predict = self.subject.generator.sampler.prepared(self.predict)
        return guide(predict) if guide else predict

    def about(self) -> dict[str, Any]:
        """What the report is of."""
        subject = self.subject
        classes = {"classes_of_samples": "as often as in the training data"}
        return (classes if subject.generator.num_classes else {}) | {
            "checkpoint": self.step,
            "parameters": fingerprint(jax.tree.leaves(self.params)),
            "parameter_count": sum(x.size for x in jax.tree.leaves(self.params)),
            "averaged": True,
            "process": repr(subject.task.process),
            "network": type(subject.task.network).__name__,
            "conditions": [condition.name for condition in subject.task.conditions],
            "train": f"{subject.train.name} ({len(subject.train)})",
            "held_out": held_out_of(subject),
            "class_names": list(subject.train.class_names),
            "seed": self.options.seed,
        }

    def loss(self) -> list[Figure]:
        """The training loss of held-out images, each at one random time."""
        task, losses = self.subject.task, Losses(self.subject.task)

        def compute(numbers: np.ndarray) -> Rows:
            return {"loss": losses(Context(self.params), self._held_out, numbers)["loss"]}

        settings: dict[str, Any] = {"task": repr(dataclasses.replace(task, sampler=None))}
        if task.couples_examples:
            settings["batch_size"] = self.options.at_once or AUTO

        def lower(n: int) -> jax.stages.Lowered:
            batch = self._shapes(n, self.subject.transform)
            return losses.lower(self.params, batch, self._held_out.keys(LOSS, np.arange(n)))

        values = self._fill("loss", self.options.max_images, compute, settings, lower)["loss"]
        return [Figure.mean("loss", values, reference=self.subject.held_out.name)]

    def likelihood(self) -> list[Figure]:
        """Of held-out examples: bits per dimension of pixels, dequantised; else nats."""
        subject, options = self.subject, self.options
        fields = ("probe", "num_probes", "rtol", "atol")
        settings = {k: getattr(options, k) for k in fields}
        draws = options.dequantization_draws

        transform = dataclasses.replace(subject.transform, dequantize=self._of_pixels)

        def compute(numbers: np.ndarray) -> Rows:
            batches = [self._held_out.batch(numbers, transform, draw) for draw in range(draws)]
            with progress_bar(desc="time reached by the flow", unit="part", leave=False) as bar:
                update = bar_updater(bar)
                found = [
                    self._log_likelihood(numbers, batch, settings, part_of(update, draw, draws))
                    for draw, batch in enumerate(batches)
                ]
            if draws == 1:
                log_p, error = found[0].value, found[0].error
            else:
                log_p, error = importance_bound(jnp.stack([f.each for f in found], axis=1))
            return {
                "dimensions": dimensions(batches[0]["image"], batches[0].get(MASK)),
                "log_p": log_p,
                "probe_error": error,
                "evaluations": sum(f.evaluations for f in found),
                "ok": np.all([f.ok for f in found], axis=0) & np.isfinite(log_p),
            }

        most = options.likelihood_images or options.max_images
        identity = settings | ({"dequantization_draws": draws} if draws > 1 else {})
        lower = functools.partial(self._lower_likelihood, transform)
        rows = self._fill("likelihood", most, compute, identity | {"rows": 3}, lower)
        ok = rows["ok"]
        shared: dict[str, Any] = {
            "reference": subject.held_out.name,
            "solver": f"{LIKELIHOOD_SOLVER}, rtol {options.rtol:g}, atol {options.atol:g}",
            "evaluations": float(rows["evaluations"].mean()),
        }
        figures = []
        if ok.any():
            log_p, error = (rows[name][ok].astype(np.float64) for name in ("log_p", "probe_error"))
            values, unit = self._per_dimension(log_p, rows["dimensions"][ok])
            figures.append(Figure.mean(self._unit, values, **shared))
            figures += error_parts(figures[0], error / unit, shared)
        if failed := int(np.sum(~ok)):
            figures.append(Figure(f"{self._unit}_failed", failed, len(ok), **shared))
        return figures

    def bound(self) -> tuple[list[Figure], dict[str, Any]]:
        """The variational bound of held-out examples, and its terms."""
        subject, chain = self.subject, self.subject.chain
        assert chain is not None
        transform = dataclasses.replace(subject.transform, dequantize=False)
        bound = BoundOfChain(chain, self.predict, transform.space)

        def compute(numbers: np.ndarray) -> Rows:
            batch = self._held_out.batch(numbers, transform)
            keys = self._held_out.keys(BOUND, numbers)
            return bound.rows(keys, batch, self._cond(batch, numbers))

        def lower(n: int) -> jax.stages.Lowered:
            batch, keys = self._shapes(n, transform), self._held_out.keys(BOUND, np.arange(n))
            cond = jax.eval_shape(functools.partial(self._cond, numbers=np.arange(n)), batch)
            given = self.predict, batch["image"], keys, cond
            return variational_bound.lower(*given, chain.variance)

        most = self.options.likelihood_images or self.options.max_images
        rows = self._fill("bound", most, compute, bound.identity(), lower)
        return bound.figures(rows, subject.held_out.name)

    def _cond(self, batch: dict[str, Any], numbers: np.ndarray) -> dict[str, Any]:
        """What the model is conditioned on for a batch of held-out examples, its padding too."""
        keys = self._held_out.keys(CONDITION, numbers)
        cond = draw_conditions(self.subject.task.conditions, batch, keys)
        return cond | ({MASK: batch[MASK]} if MASK in batch else {})

    def _per_dimension(
        self, log_p: Float[np.ndarray, "n"], dims: Float[np.ndarray, "n"]
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """The negative log-likelihoods, and how many nats one unit of each is."""
        if self._of_pixels:
            bits = self.subject.transform.space.bits_per_dim(log_p, dims)
            return bits, dims * math.log(2)
        return -log_p / dims, dims

    @property
    def _of_pixels(self) -> bool:
        """Whether examples are of grey levels, which have bits/dim."""
        return self.subject.transform.space.is_pixels

    @property
    def _unit(self) -> str:
        """What a negative log-likelihood is given in."""
        return "bits_per_dim" if self._of_pixels else "nats_per_dim"

    def _log_likelihood(
        self,
        numbers: np.ndarray,
        batch: dict[str, Any],
        settings: dict[str, Any],
        progress: Progress,
    ) -> LogLikelihood:
        """Of one dequantisation of each image; all draws of an image have the same probes."""
        return log_likelihood(
            self._held_out.keys(PROBE, numbers),
            self.subject.task.process,
            self.predict,
            batch["image"],
            cond=self._cond(batch, numbers),
            throw=False,
            progress=progress,
            **settings,
        )

    def _lower_likelihood(self, transform: Transform, n: int) -> jax.stages.Lowered:
        """The program for a batch of n examples."""
        task, options, batch = self.subject.task, self.options, self._shapes(n, transform)
        cond = jax.eval_shape(functools.partial(self._cond, numbers=np.arange(n)), batch)
        probes = options.probe, options.num_probes
        return likelihood.lower(task.process, self.predict, batch["image"], cond, *probes)

    def samples(self) -> tuple[list[Figure], dict[str, Any]]:
        """What `metrics.quality` says of samples, with classes as often as in the training set."""
        subject, options, labels = self.subject, self.options, self._labels
        assert self.extractor is not None
        generator = subject.generator
        sampler, size = generator.sampler, generator.batch_size
        identity = self._identity() | {
            "solver": repr(sampler.solver),
            "grid": fingerprint((sampler.grid.alpha, sampler.grid.sigma)),
            "denoise": sampler.denoise,
            "precision": sampler.precision,
            # A batch-mean corrector couples the samples of a batch, which is no larger than all.
            "batch_size": min(size, len(labels)) if size else AUTO,
        }
        if generator.low is not None:
            identity["low_level"] = generator.low.level
        if generator.low is not None or generator.masks is not None:
            identity |= identity_of(subject.held_out)  # which they are enlarged from, or as long as
        if subject.guide is not None:
            identity["guidance"] = subject.guide.identity()
        identity["labels"] = fingerprint([labels])
        if generator.captions is not None:
            identity["texts"] = fingerprint([np.array(generator.captions.of(0, len(labels)))])
        store = Resumable(self.places.rows, "samples", identity)
        at_once, share = self._samples_at_once, self.share
        rows = fill(store, len(labels), at_once, self._draw, "samples", share=share)
        shards.keep(store.folder / "images", options.keep_samples, rows["image"], labels, *share)
        warn_of_unfinished(rows["ok"])
        shown = in_turn(labels)[:SHOWN]
        panels = by_class(rows["image"][shown], labels[shown], subject.train.class_names)
        if share.host == 0:
            write_png(self.places.report / "samples.png", drawn(*panels))
        judge = Judge(
            self.extractor,
            subject.image_set(subject.train),
            None if subject.held_out is subject.train else subject.image_set(subject.held_out),
            self.places.reference,
            subject.held_out.class_names == DIGITS and subject.image_shape == (28, 28, 1),
            options.at_once or MOST,
            options.memorisation,
            distances.parse(options.metrics),
            options.bootstrap,
            self.reference,
            share,
        )
        samples = ImageSet("samples", len(labels), lambda i: (rows["image"][i], labels[i]))
        solver = f"{sampler.solver!r}, {len(sampler.grid.t) - 1} steps"
        if subject.guide is not None:
            solver += f", {subject.guide.strategy!r}"
        return judge(samples, self.places.rows, solver, float(rows["nfe"].mean()))

    @functools.cached_property
    def _labels(self) -> Int[np.ndarray, "n"]:
        """The classes of the samples."""
        return self.subject.labels(self.options.num_samples)

    def _samples_at_once(self, count: int) -> int:
        size = self.subject.generator.fitted(self.sampled, count).batch_size
        assert size is not None
        return size

    def _draw(self, numbers: np.ndarray) -> Rows:
        generator = dataclasses.replace(self.subject.generator, batch_size=len(numbers))
        with progress_bar(desc="sampling", leave=False) as bar:
            found = generator.draw(
                self.sampled,
                jax.random.key(self.options.seed),
                self._labels[numbers],
                first_index=int(numbers[0]),
                progress=bar_updater(bar),
            )
        return {"image": found.data, "nfe": np.full(len(numbers), found.nfe), "ok": found.ok}

    def _shapes(self, n: int, transform: Transform) -> dict[str, Any]:
        """What a batch of n held-out examples is like, without its values."""
        one = self._held_out.batch(np.arange(1), transform)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype), one)

    @functools.cached_property
    def _held_out(self) -> Examples:
        return Examples(self.subject.held_out, self.subject.transform, self.options.seed)

    def _fill(
        self,
        name: str,
        most: int,
        compute: Callable[[np.ndarray], Rows],
        settings: dict[str, Any],
        lower: Callable[[int], jax.stages.Lowered],
    ) -> Rows:
        """Rows of held-out examples, all or `most`; `lower` gives the program of a batch."""
        source = self.subject.held_out
        count = min(most, len(source)) if most else len(source)
        identity = self._identity() | identity_of(source) | settings
        return fill(
            Resumable(self.places.rows, name, identity),
            count,
            fitting(self.options.at_once, lower, MOST, "eval.batch_size"),
            compute,
            name,
            share=self.share,
        )

    def _identity(self) -> dict[str, Any]:
        """What every row depends on."""
        task = self.subject.task
        return {
            "parameters": fingerprint(jax.tree.leaves(self.params)),
            "network": repr(task.network),
            "process": repr(task.process),
            "parameterization": repr(task.parameterization),
            "transform": repr(self.subject.transform),
            "seed": self.options.seed,
        }
