"""Models of handwriting as a kind of experiment."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from controllable.classifier_free import classifier_free
from data import Source, StrokeSource
from data.source import Subset
from evaluation import handwriting as evaluation
from evaluation.handwriting import HandwritingSubject
from experiment import checks
from experiment.experiment import Experiment, PlacesOf, Trained
from experiment.handwriting_settings import HandwritingSettings
from handwriting.length import LengthModel, mean_style, points_of
from handwriting.line_features import features_of_lines
from handwriting.pairing import pair
from handwriting.writing import Asked, DrawLines, Scribe
from metrics.report import Report
from options.errors import InvalidValue, Words, within
from parameterization import NetworkPredictor, Predictor
from sde_lib import Process
from solvers.sampler import Sampler, in_space
from tasks.conditions import ClassLabel, Condition, Style, Text, find
from tasks.strokes import StrokeTask


class HandwritingExperiment(Experiment):
    """A model that writes a text in the style of a hand."""

    settings = HandwritingSettings
    kind = "handwriting"
    writes = True
    options: HandwritingSettings

    @property
    def process(self) -> Process:
        """What noises the movements."""
        return self.options.process

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the states of the longest line to train on: (points, 2). Where the configuration does
        not say how long that is it reads the lines, but not their styles."""
        length = getattr(self.options.data.source, "length", 0)
        return length or lines_of(self._split(self.options.data.train_split))[0].shape[0], 2

    @functools.cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The configuration's; the characters of the text are the data's where it names none."""
        text: Text | None = find(self.options.conditions, Text.name)
        if text is None or text.characters:
            return self.options.conditions
        lines, _ = lines_of(self._split(self.options.data.train_split))
        full = dataclasses.replace(text, characters=lines.alphabet.characters)
        return tuple(full if c.name == text.name else c for c in self.options.conditions)

    @property
    def style(self) -> Style | None:
        """The style, if the model is conditioned on one."""
        return find(self.conditions, Style.name)

    @functools.cached_property
    def network(self) -> Any:
        """The Flax module, with the conditions."""
        model = self.options.model
        more: dict[str, Any] = {"conditions": self.conditions}
        if getattr(model, "expected_places", False):
            more["points"] = self._points
        return model.clone(**more)

    @functools.cached_property
    def task(self) -> StrokeTask:
        options = self.options
        loss = options.loss
        with within("loss"):
            return StrokeTask(
                process=self.process,
                parameterization=options.parameterization,
                network=self.network,
                shape=self.shape,
                conditions=self.conditions,
                weighting=loss.weighting,
                times=loss.times,
                precision=options.precision.training,
                sampler=DrawLines(self.scribe, self._preview),
                pen_weight=loss.pen_weight,
                padding_counts=loss.padding_counts,
                average_weight=loss.average_weight,
            )

    # The data.

    def _read(self, field: str) -> Source:
        """The lines of a split, each with the style of another of its writer's."""
        found = super()._read(field)
        if find(self.options.conditions, Style.name) is None:
            return found
        lines, _ = lines_of(found)
        features = features_of_lines(lines, self.options.style.extractor.load())
        return lines.with_style(features, pair(lines.writers).other)

    def _split(self, name: str) -> Source:
        """The lines of a split as the file has them. Reads the disk."""
        with within("data.source"):
            return self.options.data.reader.read(name)

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

    def each_split(self) -> Iterator[StrokeSource]:
        """The lines of every split of the file, the training's first. Reads the disk."""
        for name in self.options.data.reader.splits():
            yield lines_of(self._split(name))[0]

    @property
    def writers(self) -> tuple[str, ...]:
        """Of all splits, by their numbers. Reads the disk where the configuration has none."""
        return self.options.data.class_names or self.train_source.class_names

    def check_source(self, found: Source) -> None:
        super().check_source(found)
        text = find(self.options.conditions, Text.name)
        alphabet = lines_of(found)[0].alphabet.characters
        if text is not None and text.characters not in ("", alphabet):
            but = f"{found.name} has {alphabet!r}"
            raise InvalidValue("conditions.text.characters", text.characters, but=but)

    def said_by_data(self) -> dict[str, Any]:
        length = self.length
        return super().said_by_data() | {
            "conditions.text.characters": find(self.conditions, Text.name).characters,
            "style.length.points": length.points,
            "style.length.hand": length.hand,
        }

    @functools.cached_property
    def length(self) -> LengthModel:
        """How many points a line takes: the configuration's, or that of the training lines."""
        if self.options.style.length.points:
            return self.options.style.length
        lines, chosen = lines_of(self.train_source)
        found = self.train_source.take(np.arange(len(self.train_source))).get("style")
        styles = np.zeros((len(chosen), 0)) if found is None else mean_style(found)
        return LengthModel.fit(self._points, lines.tokens[chosen], lines.lengths[chosen], styles)

    @functools.cached_property
    def _points(self) -> tuple[float, ...]:
        """How many points each token takes: the configuration's, or that of the training split,
        which is read without its styles."""
        if self.options.style.length.points:
            return self.options.style.length.points
        lines, _ = lines_of(self._split(self.options.data.train_split))
        return points_of(lines.tokens, lines.lengths, lines.writers, len(lines.alphabet))

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
                (self.options.model.divisor, 2),
                space,
                options.denoise,
                self.options.precision.sampling,
            )
        return Scribe(sampler, space, self.options.model.divisor, options.at_once)

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
        be."""
        given = {Text.name: text, ClassLabel.name: label, Style.name: style}
        names = {condition.name for condition in self.conditions}
        cond = {name: value for name, value in given.items() if name in names}
        styles = np.zeros((len(text), 0)) if style is None else mean_style(style)
        return Asked(cond, self.length.predict(text, styles))

    def _preview(self) -> tuple[Asked, Sequence[str]]:
        count = min(self.options.preview.num_lines, len(self.held_out))
        indices = np.random.default_rng(self.options.seed).permutation(len(self.held_out))[:count]
        lines, numbers = lines_of(self.held_out)
        return self.asked_of(self.held_out, indices), [lines.texts[numbers[i]] for i in indices]

    # Evaluation.

    def subject(self) -> HandwritingSubject:
        """What an evaluation is of, and the lines it is made on. Reads the disk."""
        lines, numbers = lines_of(self.held_out)
        return HandwritingSubject(
            self.task,
            self.held_out,
            lines,
            numbers,
            self.transform,
            self.scribe,
            lambda chosen: self.asked_of(self.held_out, chosen),
            self.guided,
            self.options.style.extractor.load() if self.style is not None else None,
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
        with within("model"):
            self.network.check(*self.shape[:-1])
        with within("parameterization"):
            options.parameterization.check(self.network)
        self.scribe  # noqa: B018  its own checks
        if scales := options.guidance.scales():
            with within("guidance"):
                classifier_free(scales, options.conditions)


def lines_of(source: Source) -> tuple[StrokeSource, Int[np.ndarray, "n"]]:
    """The lines of a file that a source is made of, and which of them it has."""
    parts = getattr(source, "source", None)
    if parts is not None:
        lines, numbers = lines_of(parts)
        return lines, numbers[cast(Subset, source).indices]
    if not hasattr(source, "alphabet"):
        raise InvalidValue("data.source", Words(source.name), "'strokes', lines of handwriting")
    return cast(StrokeSource, source), np.arange(len(source))
