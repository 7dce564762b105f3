"""Evaluation of a model of handwriting: checkpoints -> loss of held-out lines.

<report>/report.json        figures
"""

import dataclasses
from typing import Any

import numpy as np

from data import Source, Transform
from evaluation.examples import Examples, Losses
from evaluation.image_models import check_checkpoints
from evaluation.places import Places
from metrics.report import Figure, Report
from options.choices import require_non_negative
from options.fields import hidden
from options.memory import AUTO, Batched
from tasks.strokes import StrokeTask
from tasks.task import Context

PyTree = Any
MOST = 64  # lines at once


@dataclasses.dataclass(frozen=True)
class HandwritingEvalOptions(Batched):
    """On how many lines a model of handwriting is judged.

    Attributes:
      checkpoints: "latest", "all", or step numbers with commas between them.
      batch_size: lines at once; no figure depends on it; "auto": MOST.
      max_lines: that get a loss; 0 for all that are held out.
    """

    checkpoints: str = "latest"
    batch_size: str | int = AUTO
    max_lines: int = 0
    seed: int = hidden(0)

    def __post_init__(self) -> None:
        check_checkpoints(self.checkpoints)
        self.at_once  # noqa: B018  its own check
        require_non_negative(self, "max_lines")


@dataclasses.dataclass(frozen=True, eq=False)
class HandwritingSubject:
    """What is evaluated, and on what: everything but parameters."""

    task: StrokeTask
    held_out: Source
    transform: Transform


def evaluate(
    subject: HandwritingSubject,
    params: PyTree,
    step: int,
    options: HandwritingEvalOptions,
    places: Places,
) -> Report:
    """The report of these parameters, which is also left in its place."""
    examples = Examples(subject.held_out, subject.transform.for_evaluation(), options.seed)
    count = min(options.max_lines or len(examples), len(examples))
    size = min(options.at_once or MOST, count)
    losses, found = Losses(subject.task), []
    for first in range(0, count, size):
        numbers = np.minimum(np.arange(first, first + size), len(examples) - 1)
        values = losses(Context(params), examples, numbers)["loss"]
        found.append(np.asarray(values)[: count - first])
    figure = Figure.mean("loss", np.concatenate(found), reference=subject.held_out.name)
    report = Report({"step": step, "held_out": subject.held_out.name}, [figure])
    report.write(places.report / "report.json")
    return report
