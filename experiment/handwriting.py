"""Models of handwriting as a kind of experiment."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from controllable.classifier_free import classifier_free
from data import Source
from data.buckets import Buckets
from data.source import Subset
from evaluation import handwriting as evaluation
from evaluation.handwriting import HandwritingSubject
from experiment import checks
from experiment.experiment import Experiment, PlacesOf, Trained
from experiment.handwriting_settings import HandwritingSettings
from handwriting.length import LengthModel, mean_style, points_of
from handwriting.line_features import features_of_lines
from handwriting.medium import Medium
from handwriting.pairing import pair
from handwriting.pen_medium import PenMedium
from handwriting.style import StyleExtractor
from handwriting.writing import Asked, DrawLines, Scribe
from metrics.report import Report
from options.choices import require
from options.errors import InvalidValue, Words, within
from parameterization import NetworkPredictor, Predictor
from sde_lib import Process
from solvers.sampler import Sampler, in_space
from tasks.conditions import ClassLabel, Condition, Style, Text, find
from tasks.image import ImageTask
from tasks.strokes import StrokeTask
from training.loop import TrainOptions
from training.measurements import Measurement


class HandwritingExperiment(Experiment):
    """A model that writes a text in the style of a hand."""

    settings: type[HandwritingSettings] = HandwritingSettings
    kind = "handwriting"
    writes = True
    kind_of_task: type[ImageTask] = StrokeTask
    options: HandwritingSettings

    @functools.cached_property
    def medium(self) -> Medium:
        """What its lines are made of."""
        return PenMedium(self.options.write.look)

    @property
    def process(self) -> Process:
        """What noises the lines."""
        return self.options.process

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the states of the longest line to train on. Where the configuration does not say how
        long that is it reads the lines, but not their styles."""
        length = getattr(self.options.data.source, self.medium.length_field, 0)
        return self.medium.shape(length or self._whole.shape[self.medium.axis])

    @functools.cached_property
    def _whole(self) -> Any:
        """All lines of the training split, without their styles. Reads the disk."""
        return self.lines_of(self._split(self.options.data.train_split))[0]

    @functools.cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The configuration's; the characters of the text are the data's where it names none."""
        text: Text | None = find(self.options.conditions, Text.name)
        if text is None or text.characters:
            return self.options.conditions
        full = dataclasses.replace(text, characters=self._whole.alphabet.characters)
        return tuple(full if c.name == text.name else c for c in self.options.conditions)

    @property
    def style(self) -> Style | None:
        """The style, if the model is conditioned on one."""
        return find(self.conditions, Style.name)

    @functools.cached_property
    def extractor(self) -> StyleExtractor | None:
        """What sees the styles of hands, if the model is conditioned on them. Reads the disk."""
        styled = find(self.options.conditions, Style.name) is not None
        return self.options.style.load() if styled else None

    @functools.cached_property
    def network(self) -> Any:
        """The Flax module, with the conditions, the text first."""
        model = self.options.model
        conditions = tuple(sorted(self.conditions, key=lambda c: c.name != Text.name))
        more: dict[str, Any] = {"conditions": conditions}
        if getattr(model, "expected_places", False):
            more["points"] = self._sizes[0]
        return model.clone(**more)

    @functools.cached_property
    def task(self) -> ImageTask:
        options = self.options
        with within("loss"):
            return self.kind_of_task(
                process=self.process,
                parameterization=options.parameterization,
                network=self.network,
                shape=self.shape,
                conditions=self.conditions,
                precision=options.precision.training,
                sampler=DrawLines(self.scribe, self._preview),
                **{f.name: getattr(options.loss, f.name) for f in dataclasses.fields(options.loss)},
            )

    # The data.

    def _read(self, field: str) -> Source:
        """The lines of a split, each with the style of another of its writer's."""
        found = super()._read(field)
        if self.extractor is None:
            return found
        lines, _ = self.lines_of(found)
        features = features_of_lines(lines, self.extractor, medium=self.medium)
        return lines.with_style(features, pair(lines.writers).other)

    def _split(self, name: str) -> Source:
        """The lines of a split as the file has them. Reads the disk."""
        with within("data.source"):
            return self.options.data.reader.read(name)

    @functools.cached_property
    def training(self) -> TrainOptions:
        found = super().training
        return (
            dataclasses.replace(found, n_jitted_steps=1) if self.options.training.buckets else found
        )

    def buckets(self) -> Buckets | None:
        lengths, axis = self.options.training.buckets, self.medium.axis
        if not lengths:
            return None
        lines, numbers = self.lines_of(self.train_source)
        sizes = lines.lengths[numbers]
        with within("training"):
            return Buckets(sizes, (*lengths, lines.shape[axis]), axis + 1)

    @functools.cached_property
    def _plain(self) -> tuple[Source, Source | None]:
        return self._parts_of(super()._read("train_split"))

    @property
    def plain_train(self) -> Source:
        return self._plain[0]

    @functools.cached_property
    def plain_held_out(self) -> Source:
        of_train = self._plain[1]
        return super()._read("eval_split") if of_train is None else of_train

    def lines_of(self, source: Source) -> tuple[Any, Int[np.ndarray, "n"]]:
        """The lines of a file that a source is made of, and which of them it has."""
        parts = getattr(source, "source", None)
        if parts is not None:
            lines, numbers = self.lines_of(parts)
            return lines, numbers[cast(Subset, source).indices]
        of_kind = len(source.shape or ()) == len(self.medium.shape(1))
        if not (hasattr(source, "alphabet") and of_kind):
            got, expected = Words(source.name), f"{self.medium.source!r}, lines of handwriting"
            raise InvalidValue("data.source", got, expected)
        return source, np.arange(len(source))

    def each_split(self) -> Iterator[Any]:
        """The lines of every split of the file, the training's first. Reads the disk."""
        for name in self.options.data.reader.splits():
            yield self.lines_of(self._split(name))[0]

    @property
    def writers(self) -> tuple[str, ...]:
        """Of all splits, by their numbers. Reads the disk where the configuration has none."""
        return self.options.data.class_names or self.train_source.class_names

    def check_source(self, found: Source) -> None:
        super().check_source(found)
        require(found.masked, "data.source.masked", False, "True, where lines end")
        text = find(self.options.conditions, Text.name)
        label = find(self.options.conditions, ClassLabel.name)
        if label is not None:
            field = "conditions.labels.num_classes"
            checks.check_classes_of(found, field, label.num_classes)
        alphabet = self.lines_of(found)[0].alphabet.characters
        if text is not None and text.characters not in ("", alphabet):
            but = f"{found.name} has {alphabet!r}"
            raise InvalidValue("conditions.text.characters", text.characters, but=but)

    def said_by_data(self) -> dict[str, Any]:
        length = self.length
        return super().said_by_data() | {
            "conditions.text.characters": find(self.conditions, Text.name).characters,
            "style.length.points": length.points,
            "style.length.hand": length.hand,
            "style.length.writers": length.writers,
            "style.fingerprint": "" if self.extractor is None else self.extractor.identity,
        }

    @functools.cached_property
    def length(self) -> LengthModel:
        """How long a line is: the configuration's, or that of the training lines."""
        if self.options.style.length.points:
            return self.options.style.length
        lines, chosen = self.lines_of(self.train_source)
        tokens, lengths = lines.tokens[chosen], lines.lengths[chosen]
        styles = np.zeros((len(chosen), 0))
        if self.style is not None:
            styles = mean_style(lines.styles(chosen))
        sizes, writers = self._sizes
        return LengthModel.fit(sizes, tokens, lengths, styles, writers)

    @functools.cached_property
    def _sizes(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """How long each token is, and by what factor each writer's lines are longer: the
        configuration's, or those of the training split, which is read without its styles."""
        known = self.options.style.length
        if known.points:
            return known.points, known.writers
        lines = self._whole
        lengths = lines.lengths
        return points_of(lines.tokens, lengths, lines.writers, len(lines.alphabet))

    # Writing.

    @functools.cached_property
    def scribe(self) -> Scribe:
        """How the model is sampled."""
        options, space = self.options.sampling, self.space
        with within("sampling"):
            grid = options.nodes(self.process)
        with within("", precision="precision.sampling"):
            sampler = Sampler(
                self.process,
                in_space(options.solver, space),
                grid,
                self.medium.shape(self._divisor),
                space,
                options.denoise,
                self.options.precision.sampling,
            )
        return Scribe(sampler, space, self.medium, self._divisor, options.at_once)

    @property
    def _divisor(self) -> int:
        """What lengths must be multiples of."""
        return getattr(self.options.model, "divisor", 1)

    def sampled(self, params: Any) -> NetworkPredictor:
        """The network with these parameters, in the precision of sampling."""
        return self.task.predictor(params).at(self.scribe.sampler.precision)

    def guided(self, params: Any) -> Predictor:
        """The same, guided where that is asked for."""
        predict, scales = self.sampled(params), self.options.guidance.scales()
        with within("guidance"):
            return classifier_free(scales, self.conditions)(predict) if scales else predict

    def asked_of(self, source: Source, indices: Int[np.ndarray, "n"]) -> Asked:
        """The texts of some lines in their styles, as long as they are expected to be."""
        records = source.take(indices)
        return self.asked(records["text"], records["label"], records.get("style"))

    def asked(
        self,
        text: Int[np.ndarray, "n characters"],
        label: Int[np.ndarray, "n"],
        style: Float[np.ndarray, "n places c"] | None,
    ) -> Asked:
        """Texts by writers in styles, None for a model without, as long as they are expected to
        be; of a writer whom the model does not know by number, it is given the style alone."""
        known: ClassLabel | None = find(self.conditions, ClassLabel.name)
        if known is not None and known.dropout:
            label = np.where(self.length.knows(label), label, known.num_classes).astype(np.int32)
        given = {Text.name: text, ClassLabel.name: label, Style.name: style}
        names = {condition.name for condition in self.conditions}
        cond = {name: value for name, value in given.items() if name in names}
        styles = np.zeros((len(text), 0)) if style is None else mean_style(style)
        return Asked(cond, self.length.predict(text, styles, label))

    def knows(self, label: int) -> bool:
        """Whether it can write as a writer, by number, of whom there is no style."""
        return bool(self.length.knows(np.array([label]))[0])

    def _preview(self) -> tuple[Asked, Sequence[str]]:
        count = min(self.options.preview.num_lines, len(self.held_out))
        indices = np.random.default_rng(self.options.seed).permutation(len(self.held_out))[:count]
        lines, numbers = self.lines_of(self.held_out)
        return self.asked_of(self.held_out, indices), [lines.texts[numbers[i]] for i in indices]

    # Evaluation.

    def measurements(self, folder: Path) -> list[Measurement]:
        found, options = super().measurements(folder), self.options.training
        if not options.read_every:
            return found
        counts = options.read_every, options.read_lines
        return [*found, *evaluation.reading(self.subject(), self.options.seed, *counts)]

    def subject(self) -> HandwritingSubject:
        """What an evaluation is of, and the lines it is made on. Reads the disk."""
        lines, numbers = self.lines_of(self.held_out)
        return HandwritingSubject(
            self.task,
            self.held_out,
            lines,
            self.medium,
            numbers,
            self.transform,
            self.scribe,
            lambda chosen: self.asked_of(self.held_out, chosen),
            self.guided,
            self.extractor,
        )

    def evaluate(self, trained: Trained, places: PlacesOf) -> dict[int, Report]:
        subject = self.subject()
        return {
            step: evaluation.evaluate(subject, params, step, self.evaluation, places(params, step))
            for params, step in trained.chosen(self.evaluation.checkpoints, self.template)
        }

    def check(self) -> None:
        """See `Experiment`; that lines of the data fit is known once they are read."""
        options = self.options
        checks.check_process(self.process)
        names = [condition.name for condition in options.conditions]
        if Text.name not in names:
            raise InvalidValue("conditions", names, f"{Text.name!r} among them")
        style = find(options.conditions, Style.name)
        shape = options.style.extractor.shape
        if style is not None and (style.places, style.features) != shape:
            got = Words(f"{style.places} places of {style.features} features")
            but = f"the extractor gives {shape[0]} of {shape[1]}"
            raise InvalidValue("conditions.style", got, but=but)
        width = getattr(self.network, "token_width", 0)
        if width:  # the network has no encoder of texts of its own
            with within("conditions.text"):
                find(self.conditions, Text.name).encoder(width, "float32")
        with within("model"):
            self.network.check(*self.shape[:-1])
        divisor = self._divisor
        for length in options.training.buckets:
            fits = length % divisor == 0
            require(
                fits, "training.buckets", length, f"multiples of {divisor}, which networks halve"
            )
        with within("parameterization"):
            options.parameterization.check(self.network)
        self.scribe  # noqa: B018  its own checks
        if scales := options.guidance.scales():
            with within("guidance"):
                classifier_free(scales, options.conditions)
