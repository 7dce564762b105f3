"""Classes of the data, where a network is conditioned on them or tells them apart."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from data import Source
from experiment.doctor.finding import Check, Finding, Part, warning
from experiment.doctor.subject import Subject
from options.choices import listed


def _counts(subject: Subject, source: Source | None) -> Int[np.ndarray, "m"]:
    """Examples of each class; none where classes do not matter."""
    if source is None or not subject.num_classes:
        return np.zeros(0, int)
    return source.class_counts()


def _named(source: Source, classes: np.ndarray) -> str:
    names = source.class_names or tuple(map(str, range(1 + int(classes.max(initial=0)))))
    return listed([names[k] for k in classes], 10)


@dataclasses.dataclass(frozen=True)
class Imbalance(Check):
    """Classes of which one has many times as many examples as another.

    Attributes:
      most: times.
    """

    part: ClassVar[Part] = Part.DATA
    most: float = 20.0

    def findings(self, subject: Subject) -> Iterator[Finding]:
        counts = _counts(subject, subject.train)
        there = np.flatnonzero(counts)
        if len(there) < 2 or counts.max() <= self.most * counts[there].min():
            return
        rarest = there[counts[there].argmin()]
        few, many = (
            _named(subject.train, np.array([rarest])),
            _named(subject.train, np.array([counts.argmax()])),
        )
        yield warning(
            f"{counts.max():,} examples of {many}, {counts[rarest]:,} of {few}",
            f"{few} is hardly learned, and FID is that of {many}",
            f"more images of {few}, or fewer of {many}; until then samples of it by "
            f"--config.sampling.labels={few}",
        )


@dataclasses.dataclass(frozen=True)
class MissingClass(Check):
    """A class without an example in a split."""

    part: ClassVar[Part] = Part.DATA

    def findings(self, subject: Subject) -> Iterator[Finding]:
        for source, lost in (
            (subject.train, "the network never sees it, and samples of it are arbitrary"),
            (subject.held_out, "no metric says how well it is learned"),
        ):
            counts = _counts(subject, source)
            missing = np.flatnonzero(counts == 0)
            if source is not None and len(missing):
                names = _named(source, missing)
                cure = f"add images of {names} to it"
                if subject.experiment.sets_aside:
                    share = min(0.5, 2 * subject.options.data.holdout)
                    cure = f"more images of {names}, or --config.data.holdout={share:g}"
                yield warning(f"{source.name} has no example of {names}", lost, cure)


@dataclasses.dataclass(frozen=True)
class SmallClass(Check):
    """A class of too few examples to be learned.

    Attributes:
      least: examples.
    """

    part: ClassVar[Part] = Part.DATA
    least: int = 10

    def findings(self, subject: Subject) -> Iterator[Finding]:
        counts = _counts(subject, subject.train)
        small = np.flatnonzero((counts > 0) & (counts < self.least))
        if len(small):
            names = _named(subject.train, small)
            yield warning(
                f"fewer than {self.least} training examples of {names}",
                "their samples will be copies",
                f"more images of {names}, or without classes: "
                "--config.data.source.classes=False with no condition `labels`",
            )
