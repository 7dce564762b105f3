"""What the images themselves show."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from experiment.doctor.finding import Check, Finding, Part, note, warning
from experiment.doctor.subject import Subject
from options.choices import listed
from options.errors import UserError

NAMES = 10  # that are shown
WRITTEN = {"digits"}  # judges of legibility


@dataclasses.dataclass(frozen=True)
class Blank(Check):
    """Images of one colour.

    Attributes:
      most: fraction of the images that may be so.
    """

    part: ClassVar[Part] = Part.DATA
    most: float = 0.005

    def findings(self, subject: Subject) -> Iterator[Finding]:
        images = subject.images
        blank = np.flatnonzero(np.ptp(images, axis=(1, 2)).max(axis=-1, initial=0) == 0)
        if not len(blank):
            return
        names = listed(subject.looked.keys(blank), NAMES)
        say = warning if len(blank) > self.most * len(images) else note
        yield say(
            f"{len(blank)} of {len(images)} images are of one colour: {names}",
            "they are learned as they are, and make distances to the data small",
            f"remove {names}",
        )


@dataclasses.dataclass(frozen=True)
class GreyAsColour(Check):
    """Grey images in three channels."""

    part: ClassVar[Part] = Part.DATA

    def findings(self, subject: Subject) -> Iterator[Finding]:
        images = subject.images
        if len(images) and images.shape[-1] == 3 and (images == images[..., :1]).all():
            converts = hasattr(subject.options.data.source, "channels")
            yield warning(
                f"all of {len(images)} images are grey, in 3 channels",
                "three times the work, and samples with tints",
                "--config.data.num_channels=1"
                if converts
                else "write the first channel of the arrays alone, images[..., :1], and "
                "--config.data.num_channels=1",
            )


@dataclasses.dataclass(frozen=True)
class ValueRange(Check):
    """8-bit images whose values are those of another range, such as 0 and 1.

    Attributes:
      least: value that the brightest pixel of all images should have.
    """

    part: ClassVar[Part] = Part.DATA
    least: int = 64

    def findings(self, subject: Subject) -> Iterator[Finding]:
        images = subject.images
        brightest = int(images.max(initial=0))
        if len(images) and 0 < brightest < self.least:
            yield warning(
                f"no value of {len(images)} images exceeds {brightest} of 255",
                "as states they are nearly equal, so the network learns black images",
                f"multiply the values by {255 // brightest} and write the data again",
            )


@dataclasses.dataclass(frozen=True)
class Flips(Check):
    """Mirror images of digits or letters."""

    part: ClassVar[Part] = Part.DATA

    def findings(self, subject: Subject) -> Iterator[Finding]:
        data, names = subject.options.data, subject.train.class_names
        letters = len(names) > 1 and all(len(n) == 1 and n.isalpha() for n in names)
        judged = getattr(data.source, "judge", "") in WRITTEN
        if data.random_flip and (letters or judged):
            yield warning(
                f"data.random_flip = True of {subject.train.name}, with classes "
                f"{listed(names, NAMES)}",
                "half of the samples will be mirror writing",
                "--config.data.random_flip=False",
            )


@dataclasses.dataclass(frozen=True)
class NothingHeldOut(Check):
    """A run without examples that say whether it learns or copies."""

    part: ClassVar[Part] = Part.DATA

    def findings(self, subject: Subject) -> Iterator[Finding]:
        if subject.held_out is not None:
            return
        why = "overfitting shows nowhere, and metrics of held-out images are left out"
        try:
            same = subject.experiment.plain_held_out is subject.train
        except UserError as error:
            yield warning(
                str(error),
                why,
                "a part of the data under this name; or --config.data.train_split and "
                "--config.data.eval_split as the parts are called; a folder without parts, or one "
                ".npy file, is divided by --config.data.holdout=0.1",
            )
            return
        if same:
            yield warning(
                f"nothing of {subject.train.name} is held out (data.holdout = "
                f"{subject.options.data.holdout:g}, data.eval_split = "
                f"{subject.options.data.eval_split})",
                why,
                "--config.data.holdout=0.1 --config.data.eval_split=test",
            )
