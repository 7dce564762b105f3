"""Classifiers of noisy images as a kind of experiment."""

import functools
from typing import Self

from data.source import Source
from evaluation import classifiers
from evaluation.classifiers import ClassifierSubject
from experiment import checks, configuration
from experiment.experiment import Experiment, PlacesOf, Trained, at
from experiment.settings import ClassifierSettings
from metrics.report import Report
from options.errors import InvalidValue, within
from sde_lib import Process
from tasks.classifier import ClassifierTask


class ClassifierExperiment(Experiment):
    """A classifier of noisy images, to guide a generative model with."""

    settings = ClassifierSettings
    kind = "classifier"
    options: ClassifierSettings

    @property
    def process(self) -> Process:
        """What noises the images that the classifier is to know."""
        return self.options.process

    @functools.cached_property
    def task(self) -> ClassifierTask:
        options = self.options
        with within("loss"):
            return ClassifierTask(
                self.process,
                options.model,
                self.shape,
                c_noise=options.parameterization.c_noise,
                label_smoothing=options.loss.label_smoothing,
                times=options.loss.times,
                precision=options.precision.training,
            )

    @classmethod
    def trained_at(cls, where: str) -> tuple[Self, Trained]:
        """The classifier in exported weights or a workdir, and where its parameters are.
        InvalidValue, of a field `weights`, for one of something else. Reads its configuration."""
        trained = at(where)
        with within("", workdir="weights"):
            given = configuration.remembered(trained.place)
        if (kind := given.get("task")) != cls.kind:
            but = f"it holds a model of task {kind!r}"
            raise InvalidValue("weights", str(trained.place), but=but)
        return cls.of(given), trained

    def check_source(self, found: Source) -> None:
        super().check_source(found)
        checks.check_classes_of(found, "model.num_classes", self.options.model.num_classes)

    def check(self) -> None:
        checks.check_judge(self)
        checks.check_classes(self, "model.num_classes", self.options.model.num_classes)

    def subject(self) -> ClassifierSubject:
        """What an evaluation is of, and its images. Reads the disk."""
        return ClassifierSubject(self.task, self.train_source, self.held_out, self.transform)

    def evaluate(self, trained: Trained, places: PlacesOf) -> dict[int, Report]:
        subject, options = self.subject(), self.evaluation
        return {
            step: classifiers.evaluate(subject, params, step, options, places(params, step))
            for params, step in trained.chosen(options.checkpoints, self.template)
        }
