"""The length of a run beside what has to fit into it."""

import dataclasses
import math
from collections.abc import Iterator

from experiment.doctor.finding import Check, Finding, warning
from experiment.doctor.subject import Subject


@dataclasses.dataclass(frozen=True)
class Warmup(Check):
    """A learning rate that is still rising when the run ends."""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        steps, warmup = subject.options.training.steps, subject.options.optim.warmup
        if warmup >= steps:
            yield warning(
                f"optim.warmup = {warmup} is not over after training.steps = {steps}",
                f"the learning rate ends at {steps / warmup:.0%} of optim.lr",
                f"--config.optim.warmup={steps // 10}",
            )


@dataclasses.dataclass(frozen=True)
class SlowAverage(Check):
    """An average of the parameters that still remembers the first, random ones.

    Attributes:
      most: share of them in the average at the end of the run.
    """

    most: float = 0.01

    def findings(self, subject: Subject) -> Iterator[Finding]:
        steps, ema = subject.options.training.steps, subject.options.ema
        share = ema.initial_share(steps)
        if share > self.most:
            decay = math.floor(1e4 * self.most ** (1 / steps)) / 1e4
            yield warning(
                f"ema.decay = {ema.decay} is slow for training.steps = {steps}",
                "the average, with which samples are drawn, is "
                f"{share:.0%} the first, random parameters",
                f"--config.ema.warmup=True, which forgets them, or --config.ema.decay={decay:g}",
            )


@dataclasses.dataclass(frozen=True)
class Checkpoints(Check):
    """A run that loses more than half of itself when it is cut off.

    Attributes:
      shortest: run that is looked at, in steps.
    """

    shortest: int = 1000

    def findings(self, subject: Subject) -> Iterator[Finding]:
        options = subject.options.training
        every, steps, jitted = options.checkpoint_every, options.steps, options.steps_at_once or 1
        if steps >= self.shortest and not 0 < every <= steps / 2:
            better = max(1, steps // 20 // jitted) * jitted
            yield warning(
                f"training.checkpoint_every = {every} in a run of {steps:,} steps",
                "a kill loses more than half of the run",
                f"--config.training.checkpoint_every={better}",
            )


@dataclasses.dataclass(frozen=True)
class LearningRate(Check):
    """A learning rate with which Adam diverges, or does not move.

    Attributes:
      least, most: that are usual; those of the shipped configurations are 2e-4 to 2e-3.
      usual: what is proposed.
    """

    least: float = 1e-6
    most: float = 4e-3
    usual: float = 2e-4

    def findings(self, subject: Subject) -> Iterator[Finding]:
        lr = subject.options.optim.lr
        if not self.least <= lr <= self.most:
            yield warning(
                f"optim.lr = {lr:g} is outside of {self.least:g} to {self.most:g}",
                "Adam diverges with larger ones, and with smaller ones hardly moves",
                f"--config.optim.lr={self.usual:g}",
            )
