"""Text-image judges as a kind of experiment."""

import dataclasses
import functools
from typing import Any

from evaluation import retrieval
from evaluation.retrieval import RetrievalOptions, RetrievalSubject
from experiment import checks
from experiment.experiment import PlacesOf, Trained
from experiment.settings import CaptionOptions, ClassifierSettings
from experiment.texts import CaptionedExperiment
from losses import TIMES, UniformTimes
from metrics.report import Report
from models.two_towers import TwoTowers
from options.choices import require
from options.fields import chosen, several
from sde_lib import Process
from tasks.conditions import CONDITIONS, Condition
from tasks.matching import MatchingTask


@dataclasses.dataclass(frozen=True)
class MatchingLoss:
    """What a judge minimises.

    Attributes:
      times: how noise levels are drawn.
    """

    times: Any = chosen(TIMES, UniformTimes())


@dataclasses.dataclass(frozen=True)
class MatchingSettings(ClassifierSettings):
    """A judge of whether a text says what a noisy image shows.

    Attributes:
      model: the network of images; its `num_classes` is the width of the vectors.
      conditions: the one of the text, `caption` or `text`.
    """

    conditions: tuple[Condition, ...] = several(CONDITIONS)
    captions: CaptionOptions = CaptionOptions()
    loss: MatchingLoss = MatchingLoss()  # type: ignore[assignment]
    eval: RetrievalOptions = RetrievalOptions()  # type: ignore[assignment]


class MatchingExperiment(CaptionedExperiment):
    """A text-image judge, to guide a generative model with or to judge it by."""

    settings = MatchingSettings
    kind = "matching"
    options: MatchingSettings

    @property
    def process(self) -> Process:
        """What noises the images that the judge is to know."""
        return self.options.process

    @functools.cached_property
    def task(self) -> MatchingTask:
        options, found = self.options, self.captioned
        assert found is not None
        return MatchingTask(
            self.process,
            TwoTowers(options.model, found.condition),
            self.shape,
            options.parameterization.c_noise,
            options.loss.times,
            options.precision.training,
        )

    def check(self) -> None:
        names = [condition.name for condition in self.options.conditions]
        one = len(names) == 1 and self.captioned is not None
        require(one, "conditions", names, "one, of captions")
        checks.check_judge(self)

    def subject(self) -> RetrievalSubject:
        """What an evaluation is of, and its images. Reads the disk."""
        assert self.captioned is not None
        transform = self.transform.for_evaluation()
        value = self.captioned.value
        return RetrievalSubject(self.task, self.train_source, self.held_out, transform, value)

    def evaluate(self, trained: Trained, places: PlacesOf) -> dict[int, Report]:
        subject, options = self.subject(), self.evaluation
        return {
            step: retrieval.evaluate(subject, params, step, options, places(params, step))
            for params, step in trained.chosen(options.checkpoints, self.template)
        }
