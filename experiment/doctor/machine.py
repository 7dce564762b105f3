"""What the training takes of this machine: memory, time, money. The step is compiled and run."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from experiment.doctor.finding import Check, Finding, Part, Severity, note
from experiment.doctor.subject import Subject
from options.memory import AUTO, in_words
from training import expectation

HOUR = 3600.0


@dataclasses.dataclass(frozen=True)
class Memory(Check):
    """Whether the training step fits a device, by XLA's memory analysis.

    Attributes:
      most: fraction of what there is.
    """

    part: ClassVar[Part] = Part.MACHINE
    most: float = 1.0

    def findings(self, subject: Subject) -> Iterator[Finding]:
        trial = subject.trial
        seen = (
            f"a training step needs {in_words(trial.needs)} of the {in_words(trial.has)} of a "
            f"device; {trial.reason}"
        )
        if trial.needs > self.most * trial.has:
            cure = f"--config.training.microbatch={AUTO}"
            yield Finding(Severity.ERROR, seen, "the run ends where memory does", cure)
        else:
            yield note(seen, "it fits")


@dataclasses.dataclass(frozen=True)
class Duration(Check):
    """How long the whole run takes, by some steps, and what that costs.

    Attributes:
      most: seconds.
    """

    part: ClassVar[Part] = Part.MACHINE
    most: float = expectation.DAY

    def findings(self, subject: Subject) -> Iterator[Finding]:
        trial, steps = subject.trial, subject.options.training.steps
        whole = expectation.expected(steps, trial.steps, trial.seconds)
        speed, price = trial.steps / trial.seconds, subject.request.price
        cost = f" and cost {whole / HOUR * price:,.2f} at {price:g} an hour" if price else ""
        seen = (
            f"{speed:.3g} steps/s over {trial.steps} steps: training.steps = {steps:,} take about "
            f"{expectation.in_words(whole)}{cost}, plots and measurements apart"
        )
        if whole > self.most:
            cure = f"--config.training.steps={max(1, int(self.most * speed))}"
            yield Finding(Severity.WARNING, seen, expectation.SHORTER, cure)
        else:
            yield note(seen, "so fast on this machine, with what else it does")
