"""What a run has left: a model under another configuration, a loss that has turned."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, ClassVar

from experiment.doctor.finding import Check, Finding, Part, Severity, warning
from experiment.doctor.subject import Subject
from experiment.trained_under import differing
from storage.workdir import first_few

METRICS = "metrics.jsonl"
HELD_OUT, ERROR = "held_out_loss", "loss_gap_error"


@dataclasses.dataclass(frozen=True)
class TrainedOtherwise(Check):
    """A network that was trained under another configuration than it is to be used under."""

    part: ClassVar[Part] = Part.RUN

    def findings(self, subject: Subject) -> Iterator[Finding]:
        assert subject.trained is not None
        found = differing(subject.experiment.config, subject.trained.place)
        if found:
            yield Finding(
                Severity.ERROR,
                f"{subject.trained.place} was trained under another config: {first_few(found)}",
                "samples are noise, or worse: nearly right",
                f"leave --config.{next(iter(found))} out of the command",
            )


@dataclasses.dataclass(frozen=True)
class Overfitted(Check):
    """A run whose held-out loss has been lower.

    Attributes:
      errors: standard errors by which it has risen since.
    """

    part: ClassVar[Part] = Part.RUN
    errors: float = 3.0

    def findings(self, subject: Subject) -> Iterator[Finding]:
        assert subject.trained is not None
        path = subject.trained.workdir / METRICS
        if subject.trained.weights is not None or not path.is_file():
            return
        rows = [row for row in map(_read, path.read_text().splitlines()) if HELD_OUT in row]
        if len(rows) < 2:
            return
        best, last = min(rows, key=lambda row: row[HELD_OUT]), rows[-1]
        risen = last[HELD_OUT] - best[HELD_OUT]
        if risen > self.errors * last.get(ERROR, 0.0):
            yield warning(
                f"the held-out loss was {best[HELD_OUT]:.4g} at step {best['step']:,} and is "
                f"{last[HELD_OUT]:.4g} at step {last['step']:,}, +- {last.get(ERROR, 0.0):.2g}",
                "since then the run learns its examples by heart",
                f"--config.training.steps={best['step']}, or --config.model.dropout=0.1; of what "
                f"is kept, --mode eval --config.eval.checkpoints=all finds the best",
            )


def _read(line: str) -> dict[str, Any]:
    """A row of the log; nothing of one that is damaged."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if hasattr(found, "items") else {}
