"""An examination: the checks that are asked for, one after the other, and their report."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from experiment.doctor import CHECKS
from experiment.doctor.finding import Check, Finding, Part, Severity, refusal
from experiment.doctor.subject import Subject
from options import memory
from options.classes import choose_class
from options.errors import UserError
from options.progress import busy
from storage import json_text

ALL = "all"
REFUSED, DATA = "refused", "data"  # what no class looks for: every mode does
# What a training looks for before it begins, and says in a line each.
BEFORE_TRAINING = ("warmup", "ema", "sigma_max")


def chosen(names: str) -> dict[str, Check]:
    """The checks by name, "all" or "module:Class"; see `Request`."""
    found: dict[str, Check] = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name in {ALL}:
            found |= {known: cls() for known, cls in CHECKS.items()}
        else:
            found[name] = choose_class(CHECKS, name, "checks")()
    return found


@dataclasses.dataclass(frozen=True)
class Examination:
    """What was found, the worst first.

    Attributes:
      checks: names of the checks that were made.
      left_out: names of those that were not, with the reason.
    """

    findings: tuple[Finding, ...]
    checks: tuple[str, ...]
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def worst(self) -> Severity | None:
        """None where nothing was found."""
        return max((finding.severity for finding in self.findings), default=None)

    def to_json(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """For JSON. about: what was examined."""
        findings = [
            dataclasses.asdict(f) | {"severity": f.severity.name.lower()} for f in self.findings
        ]
        made = {"checks": list(self.checks), "left_out": dict(self.left_out)}
        return {"about": dict(about) | machine(), "findings": findings, **made}

    def write(self, path: Path, about: Mapping[str, Any]) -> None:
        """As JSON, whole or not at all."""
        json_text.write(path, self.to_json(about))

    def __str__(self) -> str:
        counts = Counter(finding.severity for finding in self.findings)
        said = ", ".join(
            f"{counts[severity]} {severity.name.lower()}{'s' * (counts[severity] != 1)}"
            for severity in sorted(Severity, reverse=True)
        )
        without = [f"left out: {', '.join(names)}: {why}" for why, names in self._reasons()]
        made = f"{len(self.checks)} check{'s' * (len(self.checks) != 1)}: {said}"
        return "\n".join([*map(str, self.findings), made, *without])

    def _reasons(self) -> Iterator[tuple[str, list[str]]]:
        for why in dict.fromkeys(self.left_out.values()):
            yield why, [name for name, reason in self.left_out.items() if reason == why]


def machine() -> dict[str, Any]:
    """What the program runs on."""
    device = jax.devices()[0]
    return {
        "devices": f"{jax.device_count()} x {device.device_kind}",
        "device_memory": memory.in_words(memory.device_memory()),
    }


def refused(error: UserError) -> Examination:
    """Of a configuration of which no experiment can be made."""
    return Examination((refusal(error, REFUSED),), (REFUSED,))


def examine(subject: Subject) -> Examination:
    """Makes the checks that `subject.request` asks for."""
    checks = chosen(subject.request.checks)
    found = [*_attempt(REFUSED, lambda: subject.experiment.check_all(jax.device_count()))]
    left_out: dict[str, str] = {}
    made = [REFUSED]
    unread = ""
    if any(check.part in (Part.DATA, Part.MACHINE) for check in checks.values()):
        trouble = [*_attempt(DATA, lambda: subject.train)]
        unread = "the data cannot be read" if trouble else ""
        found += trouble
    reasons = {
        Part.CONFIG: "",
        Part.DATA: unread,
        Part.RUN: "" if subject.trained else "no --workdir with a run, nor --weights, is named",
        Part.MACHINE: unread if subject.request.measure else "not asked for by --measure",
    }
    with busy("examining"):
        for name, check in checks.items():
            if why := reasons[check.part]:
                left_out[name] = why
                continue
            made.append(name)
            found += findings_of(name, check, subject)
    return Examination(tuple(_sorted(found)), tuple(made), left_out)


def findings_of(name: str, check: Check, subject: Subject) -> Iterator[Finding]:
    """What one check finds, by its name."""
    try:
        for finding in check.findings(subject):
            yield dataclasses.replace(finding, check=name)
    except UserError as error:
        yield refusal(error, name)


def before_training(subject: Subject, names: Collection[str] = BEFORE_TRAINING) -> list[str]:
    """What will disappoint in a training, a line each."""
    return [found.line for name in names for found in CHECKS[name]().findings(subject)]


def _attempt(name: str, function: Callable[[], Any]) -> Iterator[Finding]:
    """What a function refuses."""
    try:
        function()
    except UserError as error:
        yield refusal(error, name)


def _sorted(found: list[Finding]) -> list[Finding]:
    """The worst first; what is refused twice for one reason, once."""
    unique = {(f.severity, f.seen): f for f in reversed(found)}
    return sorted(reversed(unique.values()), key=lambda f: -f.severity)
