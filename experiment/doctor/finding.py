"""What an examination finds, and what looks for it.

A check is a frozen dataclass, a line of `experiment.doctor.CHECKS`, that looks for one fault of a
configuration, its data, its run or the machine. Its fields are its limits.
"""

import dataclasses
import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from experiment.doctor.subject import Subject
from options.errors import UserError


class Severity(enum.IntEnum):
    """NOTE: good to know. WARNING: the results will disappoint. ERROR: it cannot work."""

    NOTE = 0
    WARNING = 1
    ERROR = 2


class Part(enum.Enum):
    """What a check looks at: configuration alone; the data; a run or weights; the machine, for
    which the training step is compiled and run."""

    CONFIG = "config"
    DATA = "data"
    RUN = "run"
    MACHINE = "machine"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
      severity: how bad it is.
      seen: what was found, with its numbers. why: what follows of it.
      cure: what to add to the command, as in "--config.optim.warmup=20", or to do; "" for nothing.
      check: the name of the check that found it.
    """

    severity: Severity
    seen: str
    why: str
    cure: str = ""
    check: str = ""

    @property
    def line(self) -> str:
        """All of it in one line, without the severity."""
        cure = f". Cure: {self.cure}" if self.cure else ""
        return f"{self.seen}: {self.why}{cure}"

    def __str__(self) -> str:
        cure = [f"cure: {self.cure}"] if self.cure else []
        head = f"{self.severity.name.lower():8} {self.check}: {self.seen}"
        return f"\n{9 * ' '}".join([head, self.why, *cure])


def warning(seen: str, why: str, cure: str) -> Finding:
    """A finding of this severity."""
    return Finding(Severity.WARNING, seen, why, cure)


def note(seen: str, why: str, cure: str = "") -> Finding:
    """A finding of this severity."""
    return Finding(Severity.NOTE, seen, why, cure)


def refusal(error: UserError, check: str) -> Finding:
    """An error that a user can mend, as what it is for an examination."""
    field = f"--config.{error.field}" if "." in error.field else error.field
    cure = f"{field}: {error.expected}" if error.expected else f"another {field}"
    why = "every mode that needs it refuses it, in these words"
    return Finding(Severity.ERROR, str(error), why, cure, check)


class Check(ABC):
    """Looks for one fault. Derive from it.

    Attributes:
      part: what it looks at.
    """

    part: ClassVar[Part] = Part.CONFIG

    @abstractmethod
    def findings(self, subject: Subject) -> Iterator[Finding]:
        """What it finds; nothing where it does not apply. A UserError is an ERROR."""
