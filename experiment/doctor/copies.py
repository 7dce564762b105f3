"""Images that are there more than once."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from experiment.doctor.finding import Check, Finding, Part, note, warning
from experiment.doctor.subject import Looked, Subject, thumbnails
from metrics.nearest import nearest
from options.choices import listed

NAMES = 6  # pairs that are shown
LEVEL = 255.0


def _rms(distance: Float[np.ndarray, "n"], images: np.ndarray) -> Float[np.ndarray, "n"]:
    """Root mean square differences in grey levels, of distances of pixels in [0, 1]."""
    return LEVEL * distance / np.sqrt(images[0].size)


def _pairs(
    looked: Looked, other: Looked, rows: Int[np.ndarray, "n"], index: Int[np.ndarray, "n"]
) -> str:
    shown = zip(looked.keys(rows), other.keys(index[rows]), strict=True)
    return listed([f"{one} = {another}" for one, another in shown], NAMES)


@dataclasses.dataclass(frozen=True)
class Duplicates(Check):
    """Training images that are equal, at the model's size.

    Attributes:
      most: fraction of the images that may be copies of others.
    """

    part: ClassVar[Part] = Part.DATA
    most: float = 0.005

    def findings(self, subject: Subject) -> Iterator[Finding]:
        groups: dict[bytes, list[int]] = defaultdict(list)
        for row, image in enumerate(subject.images):
            groups[image.tobytes()].append(row)
        copies = [row for rows in groups.values() for row in rows[1:]]
        if not copies:
            return
        names = listed(subject.looked.keys(copies), NAMES)
        count = len(subject.images)
        say = warning if len(copies) > self.most * count else note
        yield say(
            f"{len(copies)} of {count} training images are copies of others: {names}",
            "they count several times, and are the first to be learned by heart",
            f"remove {names}; --examples=0 looks at all images",
        )


@dataclasses.dataclass(frozen=True)
class NearDuplicates(Check):
    """Training images that differ by less than an encoding does.

    Attributes:
      levels: root mean square difference in grey levels, of at most 32 x 32 pixels.
      most: fraction of the images that may have such another.
    """

    part: ClassVar[Part] = Part.DATA
    levels: float = 3.0
    most: float = 0.02

    def findings(self, subject: Subject) -> Iterator[Finding]:
        small = thumbnails(subject.images)
        if len(small) < 2:
            return
        distance, index = nearest(small, small, np.arange(len(small)))
        rms = _rms(distance, small)
        exact = (subject.images == subject.images[index]).all(axis=(1, 2, 3))
        near = np.flatnonzero((rms <= self.levels) & ~exact)
        if not len(near):
            return
        say = warning if len(near) > self.most * len(small) else note
        yield say(
            f"{len(near)} of {len(small)} training images differ from another one by at most "
            f"{self.levels:g} grey levels: {_pairs(subject.looked, subject.looked, near, index)}",
            "frames of a film or encodings of one image count several times",
            "keep one of each; --examples=0 looks at all images",
        )


@dataclasses.dataclass(frozen=True)
class Overlap(Check):
    """Held-out images that were trained on, or nearly.

    Attributes:
      levels: as of `NearDuplicates`.
      most: fraction of the held-out images.
    """

    part: ClassVar[Part] = Part.DATA
    levels: float = 3.0
    most: float = 0.01

    def findings(self, subject: Subject) -> Iterator[Finding]:
        train, held_out = thumbnails(subject.images), thumbnails(subject.images_held_out)
        looked = subject.looked_held_out
        if not len(train) or not len(held_out) or looked is None:
            return
        distance, index = nearest(held_out, train)
        same = np.flatnonzero(_rms(distance, held_out) <= self.levels)
        if not len(same):
            return
        say = warning if len(same) > self.most * len(held_out) else note
        yield say(
            f"{len(same)} of {len(held_out)} held-out images are among {len(train)} training "
            f"images: {_pairs(looked, subject.looked, same, index)}",
            "held-out metrics look better than they are, and copying goes unseen",
            f"remove {listed(looked.keys(same), NAMES)} from {looked.source.name}",
        )
