"""What the files of a folder of images are."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from data.folder_scan import Outcome, said_of_levels
from data.transforms import CROPS, cut_size
from experiment.doctor.finding import Check, Finding, Part, note, warning
from experiment.doctor.subject import Subject
from options.choices import listed

NAMES = 10  # that are shown
WHITE = "laid over white"  # what `data.image_file` says of transparency
NO_IMAGE = {"not an image"}


def _sizes(subject: Subject) -> list[tuple[int, int]]:
    """(height, width) of every training image, before it is brought to the model's size."""
    files = subject.files
    if files:
        return [(o.height, o.width) for o in files.values() if o.refusal is None]
    shape = subject.train.shape
    return [(shape[0], shape[1])] if shape and subject.is_of_images else []


def _named(files: Mapping[str, Outcome]) -> str:
    return listed(list(files), NAMES)


@dataclasses.dataclass(frozen=True)
class Damaged(Check):
    """Files that are cut off, damaged, or of a kind that is not read."""

    part: ClassVar[Part] = Part.DATA

    def findings(self, subject: Subject) -> Iterator[Finding]:
        bad = {name: o for name, o in subject.files.items() if o.refusal is not None}
        broken = {name: o for name, o in bad.items() if o.refusal not in NO_IMAGE}
        if broken:
            name, first = next(iter(broken.items()))
            places = " ".join(f"{subject.folder}{file}" for file in list(broken)[:NAMES])
            yield warning(
                f"{len(broken)} of {len(subject.files)} files cannot be read: {_named(broken)}",
                f"they are left out; {name}: {first.refusal}",
                f"copy them anew, or rm {places}",
            )
        elif bad:
            yield note(f"{len(bad)} files are no images: {_named(bad)}", "they are left out")


@dataclasses.dataclass(frozen=True)
class Transparent(Check):
    """Images with alpha, whose ground becomes white."""

    part: ClassVar[Part] = Part.DATA

    def findings(self, subject: Subject) -> Iterator[Finding]:
        found = {n: o for n, o in subject.files.items() if WHITE in o.conversions}
        if found:
            yield warning(
                f"{len(found)} of {len(subject.files)} images are transparent: {_named(found)}",
                "they are laid over white, which becomes part of what is learned",
                "where another ground is wanted, from a copy of the folder: mogrify -background "
                "black -alpha remove -alpha off *.png",
            )


@dataclasses.dataclass(frozen=True)
class SixteenBit(Check):
    """16-bit images, of which 8 bits are kept."""

    part: ClassVar[Part] = Part.DATA

    def findings(self, subject: Subject) -> Iterator[Finding]:
        good = {n: o for n, o in subject.files.items() if o.refusal is None}
        deep = {name: o for name, o in good.items() if o.largest is not None}
        if not deep:
            return
        few = said_of_levels(good)
        seen = f"{len(deep)} of {len(good)} images have 16 bits: {_named(deep)}"
        say = warning if few else note
        yield say(
            f"{seen}; {few}" if few else seen,
            "8 bits are kept of them",
            "where all are wanted: --config.data.source.numbers=True --config.data.space=scaled",
        )


@dataclasses.dataclass(frozen=True)
class OtherProportions(Check):
    """Images of which much is cropped or squeezed.

    Attributes:
      most_lost: fraction of an image's area.
      most: fraction of the images that may lose more.
    """

    part: ClassVar[Part] = Part.DATA
    most_lost: float = 0.25
    most: float = 0.05

    def findings(self, subject: Subject) -> Iterator[Finding]:
        data, sizes = subject.options.data, _sizes(subject)
        if data.size is None or not sizes:
            return
        lossy = self._lossy(sizes, data.size)
        if lossy <= self.most:
            return
        heights, widths = zip(*sizes, strict=True)
        aspect = float(np.median(np.array(widths) / np.array(heights)))
        height = data.size[0]
        fitting = height, max(8, 8 * round(height * aspect / 8))
        cuts = CROPS[data.crop].cuts
        cures = self._lossy(sizes, fitting) <= self.most
        say = warning if cuts or cures else note  # squeezed on purpose, as all must be
        cure = "squeezed in place of cut: --config.data.crop=none" if cuts else ""
        yield say(
            f"{lossy:.0%} of {len(sizes)} images, {min(heights)} to "
            f"{max(heights)} high and {min(widths)} to {max(widths)} wide, are of other "
            f"proportions than data.image_size = {data.size}",
            "a quarter of them or more is cut off" if cuts else "they are squeezed",
            f'--config.data.image_size="{fitting}"' if cures else cure,
        )

    def _lossy(self, sizes: list[tuple[int, int]], target: tuple[int, int]) -> float:
        """The fraction of the images of which too much is lost."""
        kept = [np.prod(cut_size(size, target)) / np.prod(size) for size in sizes]
        return float(np.mean(1 - np.array(kept) > self.most_lost))


@dataclasses.dataclass(frozen=True)
class Enlarged(Check):
    """Images that are smaller than the model's.

    Attributes:
      most: fraction of the images that may be so.
    """

    part: ClassVar[Part] = Part.DATA
    most: float = 0.1

    def findings(self, subject: Subject) -> Iterator[Finding]:
        data, sizes = subject.options.data, _sizes(subject)
        if data.size is None or not sizes:
            return
        scale = np.array([min(h / data.size[0], w / data.size[1]) for h, w in sizes])
        small = np.count_nonzero(scale < 1)
        if small <= self.most * len(sizes):
            return
        factor = float(np.quantile(scale, self.most))
        fitting = tuple(max(8, 8 * int(factor * side / 8)) for side in data.size)
        yield warning(
            f"{small / len(sizes):.0%} of {len(sizes)} images are smaller than data.image_size = "
            f"{data.size}, down to {min(sizes)}",
            "they are enlarged, and the network learns to blur",
            f'--config.data.image_size="{fitting}"',
        )
