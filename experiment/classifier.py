"""Classifiers of noisy images as a kind of experiment."""

import dataclasses
import functools
from pathlib import Path

from evaluation import classifiers
from evaluation.classifiers import ClassifierSubject
from experiment import checks
from experiment.experiment import Experiment, Trained
from experiment.settings import ClassifierSettings
from metrics.report import Report
from options.errors import InvalidValue, within
from tasks.classifier import ClassifierTask
from tasks.conditions import LABELS, find


class ClassifierExperiment(Experiment):
    """A classifier of noisy images, to guide a generative model with."""

    settings = ClassifierSettings
    kind = "classifier"
    options: ClassifierSettings

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
            )

    def check(self) -> None:
        model = self.options.model
        with within("model"):
            model.check(*self.shape[:-1])
        checks.check_classes(self, "model.num_classes", model.num_classes)

    def subject(self) -> ClassifierSubject:
        """What an evaluation is of, and its images. Reads the disk."""
        return ClassifierSubject(self.task, self.train_source, self.held_out, self.transform)

    def evaluate(self, trained: Trained, folder: Path) -> dict[int, Report]:
        subject, options = self.subject(), self.evaluation
        return {
            step: classifiers.evaluate(subject, params, step, options, folder)
            for params, step in trained.chosen(options.checkpoints, self.template)
        }

    def require_fit(self, model: Experiment, where: str) -> None:
        """InvalidValue unless this classifier can guide the model: what both assume of x_t."""
        own, theirs = model.process, self.process
        pairs = {
            "process": (dataclasses.replace(own, t_min=theirs.t_min), theirs),
            "space": (model.space, self.space),
            "shape of an image": (model.shape, self.shape),
        }
        for what, (expected, got) in pairs.items():
            if got != expected:
                but = f"its {what} is {got}, the model's {expected}"
                raise InvalidValue("guidance.classifier", where, but=but)
        classes = self.options.model.num_classes
        labels = find(getattr(model, "conditions", ()), LABELS)
        if labels is not None and labels.num_classes != classes:
            but = f"it knows {classes} classes, the model {labels.num_classes}"
            raise InvalidValue("guidance.classifier", where, but=but)
