"""Generative models of images, arrays and sequences as a kind of experiment."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from controllable.resampling import Resampled
from data import Source
from data.image_file import read_pixels
from evaluation import image_models
from evaluation.bound import decoder_of
from evaluation.image_models import Subject
from evaluation.measurements import SampleFID
from experiment import checks
from experiment.classifier import ClassifierExperiment
from experiment.experiment import PlacesOf, Trained, at
from experiment.settings import ImageSettings, SamplingOptions
from experiment.texts import CaptionedExperiment
from generation.controls import Controls
from generation.guide import Guide
from generation.sampler import Captions, DrawSamples, Generator, HeldOutLow, HeldOutMasks
from metrics import extractors
from metrics.extractors import MissingWeights
from metrics.feature_distance import FeatureDistance
from metrics.legibility import judged
from metrics.report import Report
from options.choices import did_you_mean, listed
from options.errors import InvalidValue, within
from parameterization import NetworkPredictor
from sde_lib import Node, Process
from solvers.fixed_step import FixedStep
from solvers.sampler import Sampler, in_space
from storage.files import cache_folder
from tasks.classifier import NoisyClassifier
from tasks.conditions import ClassLabel, LowResolution, find
from tasks.image import ImageTask
from training.measurements import Measurement
from variational_bound import Chain


class ImageExperiment(CaptionedExperiment):
    """A generative model, its samples, its likelihood and its control."""

    settings = ImageSettings
    kind = "image"
    draws_samples = True
    options: ImageSettings

    @property
    def process(self) -> Process:
        """What noises the data."""
        return self.options.process

    @property
    def labels(self) -> ClassLabel | None:
        """The class label, if the model is conditioned on one."""
        return find(self.options.conditions, ClassLabel.name)

    @property
    def low(self) -> LowResolution | None:
        """The low-resolution image, if the model is an upsampler."""
        return find(self.options.conditions, LowResolution.name)

    @functools.cached_property
    def network(self) -> Any:
        """The Flax module, with the conditions."""
        options = self.options
        more: dict[str, Any] = {"conditions": self.conditions} if self.conditions else {}
        if self.conditions and not hasattr(options.model, "conditions"):
            but = f"the model {type(options.model).__name__} takes none"
            raise InvalidValue("conditions", [c.name for c in self.conditions], but=but)
        if options.parameterization.learned_variance:
            more["out_channels"] = 2 * self.shape[-1]
        return options.model.clone(**more) if more else options.model

    @functools.cached_property
    def task(self) -> ImageTask:
        options = self.options
        learned = options.parameterization.learned_variance
        bound = options.loss.bound
        if learned:
            bound = dataclasses.replace(bound, low=self.space.low, high=self.space.high)
        return ImageTask(
            process=self.process,
            parameterization=options.parameterization,
            network=self.network,
            shape=self.shape,
            conditions=self.conditions,
            weighting=options.loss.weighting,
            reduction=options.loss.reduction,
            times=options.loss.times,
            coupling=options.loss.coupling,
            bound=bound if learned else None,
            precision=options.precision.training,
            sampler=DrawSamples(
                self.preview,
                min(options.preview.num_samples, options.sampling.num_samples),
            ),
        )

    # Sampling.

    @functools.cached_property
    def grid(self) -> Node:
        """The noise levels that sampling visits."""
        with within("sampling"):
            return self.options.sampling.nodes(self.process)

    @functools.cached_property
    def sampler(self) -> Sampler:
        """How the model is sampled: everything but its parameters and the key."""
        sampling = self.options.sampling
        solver = in_space(sampling.solver, self.space)
        with within("", precision="precision.sampling"):
            return Sampler(
                self.process,
                solver,
                self.grid,
                self.shape,
                self.space,
                sampling.denoise,
                self.options.precision.sampling,
            )

    def sampled(self, params: Any) -> NetworkPredictor:
        """The network with these parameters, in the precision of sampling."""
        return self.task.predictor(params).at(self.sampler.precision)

    def sampler_from(self, t_start: float | None) -> Sampler:
        """The sampler that begins at another time."""
        if t_start is None:
            return self.sampler
        with within("sampling"):
            grid = self.options.sampling.nodes(self.process, t_start)
        return dataclasses.replace(self.sampler, grid=grid)

    def check_texts(self) -> None:
        """InvalidValue for captions that were asked for and that the model cannot take."""
        for section in ("sampling", "control"):
            if texts := getattr(self.options, section).texts:
                self.captions_of(texts, f"{section}.texts")

    def captions_of(self, texts: Sequence[str], field: str = "texts") -> Captions:
        """These captions, of samples in turn; InvalidValue for some that the model cannot take."""
        found = self.captioned
        if found is None:
            raise InvalidValue(field, tuple(texts), but="the model takes no captions")
        with within("", text=field):
            found.value(texts)
        return Captions(found.condition.name, found.value, lambda: texts)

    @property
    def _captions(self) -> Captions | None:
        """The captions of samples: those asked for, or of held-out examples."""
        found, texts = self.captioned, self.options.sampling.texts
        if texts:
            return self.captions_of(texts, "sampling.texts")
        if found is None or not found.is_ready():
            return None
        read = lambda: self.held_out.texts  # noqa: E731
        return Captions(found.condition.name, found.value, read, in_turn=False)

    @functools.cached_property
    def generator(self) -> Generator:
        """The sampler in batches; an upsampler enlarges images of the evaluation split."""
        options, low = self.options, None
        if self.low is not None:
            low = HeldOutLow(
                read=lambda: self.held_out,
                prepare=self.prepared,
                low=self.low,
                space=self.space,
                level=options.sampling.low_level,
            )
        return Generator(
            self.sampler,
            self.num_classes,
            options.sampling.at_once,
            low,
            None if self.space.of_images else HeldOutMasks(lambda: self.held_out),
            lambda: self.class_names,
            self._captions,
        )

    @functools.cached_property
    def preview(self) -> Generator:
        """The sampler of what is drawn while training."""
        options = self.options
        steps = dataclasses.replace(options.sampling, num_steps=options.preview.num_steps)
        with within("preview"):
            solver, grid = in_space(options.preview.solver, self.space), steps.nodes(self.process)
        with within("", precision="precision.sampling"):
            sampler = dataclasses.replace(
                self.sampler, solver=solver, grid=grid, denoise=SamplingOptions.denoise
            )
        names = lambda: self.train_source.class_names  # noqa: E731
        return dataclasses.replace(self.generator, sampler=sampler, class_names=names)

    @functools.cached_property
    def num_classes(self) -> int:
        """Classes that can be asked for: the model's, or those of the classifier that guides it."""
        if self.labels is not None:
            return self.labels.num_classes
        guidance = self.options.guidance
        if guidance.strategy.needs_classifier and guidance.classifier:
            return self.classifier_experiment.options.model.num_classes
        return 0

    def check_source(self, found: Source) -> None:
        super().check_source(found)
        if self.labels is not None:
            field = "conditions.labels.num_classes"
            checks.check_classes_of(found, field, self.labels.num_classes)

    def sample_labels(self) -> np.ndarray:
        """The class of each sample: those asked for, over and over, or all in turn; int32 (n,)."""
        options = self.options.sampling
        if not options.labels:
            return self.generator.labels(options.num_samples)
        return np.resize(self._labels_in(options.labels, "sampling.labels"), options.num_samples)

    def _labels_in(self, text: str, field: str) -> np.ndarray:
        """Classes given between commas, by their names or numbers, int32."""
        classes = self.num_classes
        if not classes:
            raise InvalidValue(field, text, but="the model has no classes")
        asked = parse_labels(text, self.class_names, field)
        if not all(0 <= label < classes for label in asked):
            named = f": {listed(self.class_names)}" if self.class_names else ""
            raise InvalidValue(field, asked, f"classes of the model, 0 to {classes - 1}{named}")
        return np.array(asked, np.int32)

    # Guidance and control.

    @functools.cached_property
    def classifier_experiment(self) -> ClassifierExperiment:
        """The experiment of the classifier that guides. Reads its configuration."""
        with within("guidance", weights="classifier"):
            return ClassifierExperiment.trained_at(self.options.guidance.classifier)[0]

    @functools.cached_property
    def guide(self) -> Guide | None:
        """Guidance towards a class; None for none. Reads the disk."""
        options = self.options.guidance
        strategy = options.guiding
        if strategy is None:
            return None
        classifier = self.classifier if strategy.needs_classifier else None
        return Guide(
            strategy,
            self.process,
            self.conditions,
            classifier,
            self._labelled,
            cache_folder(),
            self.options.sampling.at_once,
        )

    @functools.cached_property
    def classifier(self) -> NoisyClassifier:
        """The trained classifier that guides; InvalidValue for one of something else. Reads the
        disk."""
        where, theirs = self.options.guidance.classifier, self.classifier_experiment
        self._require_fit(theirs)
        return theirs.task.classifier(at(where).params(theirs.template))

    def _require_fit(self, theirs: ClassifierExperiment) -> None:
        """InvalidValue unless the classifier knows what x_t is here: what both assume of it."""
        field, where = "guidance.classifier", self.options.guidance.classifier
        own = dataclasses.replace(self.process, t_min=theirs.process.t_min)
        pairs = {
            "process": (own, theirs.process),
            "space": (self.space, theirs.space),
            "shape of an image": (self.shape, theirs.shape),
        }
        for what, (expected, got) in pairs.items():
            if got != expected:
                but = f"its {what} is {got}, the model's {expected}"
                raise InvalidValue(field, where, but=but)
        classes = theirs.options.model.num_classes
        if self.labels is not None and self.labels.num_classes != classes:
            but = f"it knows {classes} classes, the model {self.labels.num_classes}"
            raise InvalidValue(field, where, but=but)

    def _held_out_at(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Held-out examples at the model's size, and their classes, int32 (n,)."""
        records = self.held_out.take(indices)
        return np.stack([self.prepared(x) for x in records["image"]]), records["label"]

    def _labelled(self) -> tuple[jax.Array, np.ndarray]:
        """Held-out data and their classes, as many as automatic guidance measures on."""
        found = self.held_out
        count = min(self.options.guidance.strategy.images, len(found))
        indices = np.random.default_rng(self.options.seed).permutation(len(found))[:count]
        images, labels = self._held_out_at(indices)
        return jnp.asarray(self.space.encode(images)), labels

    @functools.cached_property
    def controls(self) -> Controls:
        """What controlled generation samples with, but for the guidance, which reads the disk."""
        options, sampling = self.options, self.options.sampling
        sampler = self.sampler
        if options.control.repeats != 1:
            with within("control"):
                solver = Resampled(cast(FixedStep, sampling.solver), options.control.repeats)
            sampler = dataclasses.replace(sampler, solver=solver)

        def starting_at(t_start: float | None) -> Sampler:
            return dataclasses.replace(self.sampler_from(t_start), solver=sampler.solver)

        return Controls(
            sampler_from=starting_at,
            conditions=self.conditions,
            num_classes=self.num_classes,
            class_names=self.class_names,
            low_level=sampling.low_level,
            batch_size=sampling.at_once,
            judge=_judge_digits if self._judge else None,
            distance=self._feature_distance(),
            captioned=self._captioned_by,
        )

    def _captioned_by(self, texts: Sequence[str]) -> dict[str, Any]:
        """The conditioning by captions, for controlled generation."""
        return self.captions_of(texts).cond(0, len(texts))

    @property
    def _judge(self) -> str:
        """The extractor that judges whether such data are legible; "" for none."""
        return getattr(self.options.data.source, "judge", "")

    def _feature_distance(self) -> FeatureDistance | None:
        """By the extractor of `eval`, if its weights are named or it is the judge of the data."""
        options = self.options.eval
        by_judge = self._judge and options.extractor in (self._judge, extractors.AUTO)
        if not options.weights and not by_judge:
            return None
        with within("eval", images="extractor"):
            extractor = extractors.load(options.extractor, options.weights, self._judge)
            extractor.check(self.example_shape)
        return FeatureDistance(extractor)

    def control_images(self) -> tuple[np.ndarray, np.ndarray]:
        """The images to control, uint8 (n, h, w, c), and their labels, -1 for none.

        Some of the evaluation split, chosen by `control.seed`, or the image `control.image`. Reads
        the disk.
        """
        options = self.options.control
        if options.image:
            shape = self.example_shape
            sizes = [shape] + ([self.low.shape(shape)] if self.low is not None else [])
            image = self.image_of_user(options.image, "control.image", sizes)
            images, labels = image[None], np.array([-1], np.int32)
        else:
            found = self.held_out
            random = np.random.default_rng(options.seed)
            picked = random.choice(len(found), min(options.images, len(found)), replace=False)
            images, labels = self._held_out_at(picked)
        if options.labels:
            labels = np.resize(self._labels_in(options.labels, "control.labels"), len(images))
        if not self.num_classes:
            labels = np.full(len(images), -1, np.int32)
        return images, labels

    def image_of_user(self, where: str, field: str, sizes: Sequence[tuple[int, ...]]) -> np.ndarray:
        """An image file as uint8 (height, width, channels) of one of the sizes, the first of which
        it is cropped and resized to, as data are, where it has another; which is said."""
        pixels = read_pixels(where, self.example_shape[-1], field)
        if pixels.shape in sizes:
            return pixels
        transform = dataclasses.replace(self.transform.for_evaluation(), image_size=sizes[0][:2])
        height, width = pixels.shape[:2]
        done = transform.said_of_resizing((height, width))
        print(f"{field}: {where} of {height} x {width} is {done}")
        return transform.resized(pixels)

    # Evaluation.

    def subject(self) -> Subject:
        """What an evaluation is of, and the data it is made on. Reads the disk."""
        return self._subject(self.held_out, self.guide)

    def _subject(self, held_out: Source, guide: Guide | None) -> Subject:
        return Subject(
            task=self.task,
            generator=self.generator,
            train=self.train_source,
            held_out=held_out,
            transform=self.transform,
            guide=guide,
            judge=self._judge,
            chain=self.chain,
        )

    @functools.cached_property
    def chain(self) -> Chain | None:
        """The chain whose variational bound is evaluated: nodes as those of sampling, but as many
        as it has steps, the one to the data included."""
        options, sampling = self.options.eval, self.options.sampling
        if not options.bound:
            return None
        steps = dataclasses.replace(sampling, num_steps=options.bound - 1, end_clean=False)
        with within("sampling"):
            grid = steps.nodes(self.process)
            return Chain(self.process, grid, options.bound_variance, decoder_of(self.space))

    def measurements(self, folder: Path) -> list[Measurement]:
        found, options = super().measurements(folder), self.options.training
        if not options.fid_every:
            return found
        # Held-out images and guidance are of no concern, and are not read.
        subject = self._subject(self.train_source, None)
        try:
            with within("eval", images="extractor"):
                extractor = subject.extractor(self.evaluation)
        except MissingWeights as error:
            raise InvalidValue("training.fid_every", options.fid_every, but=str(error)) from None
        fid = SampleFID(
            subject,
            extractor,
            folder / "reference",
            seed=self.options.seed,
            every=options.fid_every,
            count=options.fid_samples,
            batch_size=self.evaluation.at_once or image_models.MOST,
        )
        return [*found, fid]

    def evaluate(self, trained: Trained, places: PlacesOf) -> dict[int, Report]:
        options, subject = self.evaluation, self.subject()
        reports = {}
        for params, step in trained.chosen(options.checkpoints, self.template):
            with within("eval", images="extractor"):
                where = places(params, step)
                reports[step] = image_models.evaluate(subject, params, step, options, where)
        return reports

    # What must hold between the parts.

    def check(self) -> None:
        checks.check_image(self)


def _judge_digits(images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The fraction legible as the class asked for, and the fraction of that class at all."""
    found = judged(extractors.load("digits"), images, labels)
    return {name: found[name] for name in ("legible", "accuracy")}


def parse_labels(text: str, names: Sequence[str], field: str) -> list[int]:
    """The numbers of classes, given between commas by their names or numbers; what is a name is
    taken for one, also where it is a number."""
    found = {name: label for label, name in enumerate(names)}

    def label(part: str) -> int:
        if part not in found and not part.isdecimal():
            known = f", or names: {listed(names)}" if names else ""
            expected = f"numbers as in '3,3,7'{known}{did_you_mean(part, names)}"
            raise InvalidValue(field, part, expected)
        return found[part] if part in found else int(part)

    return [label(part.strip()) for part in text.split(",")]
