"""All metrics of a set of samples: FID and other distances, legibility, memorisation.

Samples are compared with the training set, since that is what they are samples of; held-out images
are compared with it too, as what a perfect model would reach.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from metrics.distances import DEFAULT, distances, parse
from metrics.features import FeatureExtractor
from metrics.inception_score import inception_score
from metrics.legibility import legibility
from metrics.nearest import memorisation
from metrics.report import Figure
from metrics.resumable import ALONE, Resumable, Rows, Share, fill, fingerprint
from metrics.statistics import Statistics
from options.progress import busy

BLOCK = 256  # images that a checksum reads at a time
Labelled = tuple[UInt8[np.ndarray, "b h w c"], Int[np.ndarray, "b"]]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Images that are read as they are needed.

    Attributes:
      read: from indices to images, uint8 (b, H, W, C) of one size, and labels, int (b,); -1 where
        there is no class.
      checksum: a text that differs where any image or label does; where it is empty, one is
        computed from all of them.
    """

    name: str
    count: int
    read: Callable[[Int[np.ndarray, "b"]], Labelled]
    checksum: str = ""

    def everything(self) -> Labelled:
        """All images at once, with their labels."""
        return self.read(np.arange(self.count))

    def identity(self) -> dict[str, Any]:
        """Name, size and checksum."""
        return {"images": self.name, "count": self.count, "checksum": self.checksum or self._sum()}

    def _sum(self) -> str:
        starts = range(0, self.count, BLOCK)
        blocks = (np.arange(i, min(i + BLOCK, self.count)) for i in starts)
        return fingerprint(array for block in blocks for array in self.read(block))


@dataclasses.dataclass(frozen=True, eq=False)
class Judge:
    """Compares samples with a training set and a held-out set.

    held_out: None where no image was held out, so that what a perfect model would reach is unknown.
    folder: where the features of both sets are kept.
    digits: the images are digits, 28 x 28, with their labels; report legibility.
    memorise: look for copies among all training images.
    chosen, replicates: of `metrics.distances`.
    reference: what samples are compared with in place of the training set.
    share: of this host, which computes its part of the features.
    """

    extractor: FeatureExtractor
    train: ImageSet
    held_out: ImageSet | None
    folder: Path
    digits: bool = False
    batch_size: int = 128
    memorise: bool = True
    chosen: Sequence[str] = tuple(parse(DEFAULT))
    replicates: int = 0
    reference: Statistics | None = None
    share: Share = ALONE

    def __call__(
        self, samples: ImageSet, folder: Path, solver: str, evaluations: float
    ) -> tuple[list[Figure], dict[str, Any]]:
        """Metrics, and details by their name; features of the samples are kept in `folder`."""
        spent: dict[str, Any] = {"solver": solver, "evaluations": evaluations}
        rows = self._activations(samples, folder)
        reference = self.reference or self.of_train()
        asked = self.chosen, self.replicates
        figures = distances(self._statistics(samples, rows), reference, *asked, **spent)
        real = self.train if self.held_out is None else self.held_out
        if self.held_out is not None:
            for figure in distances(self._real(self.held_out), reference, *asked):
                figures.append(dataclasses.replace(figure, name=f"{figure.name}_of_held_out"))
        about = self.extractor.about or None
        spent |= {"extractor": self.extractor.identity, "preprocessing": about}
        if "logits" in rows:
            splits = min(10, samples.count)
            score, spread = inception_score(rows["logits"], splits)
            error = spread / splits**0.5
            figures.append(Figure("inception_score", score, samples.count, error, **spent))
        details: dict[str, Any] = {}
        if self.digits:
            with busy("judging whether samples are legible"):
                found = legibility(*samples.everything(), *real.everything())
            details["legibility"] = found
            error, spent["extractor"] = found["legible_standard_error"], found["extractor"]
            spent["preprocessing"] = None
            figures.append(Figure("legible", found["legible"], samples.count, error, **spent))
        if self.memorise:
            with busy("looking for copies of training images"):
                made = samples.everything()[0]
                details["memorisation"] = memorisation(made, self.train, self.held_out)
        return figures, details

    def of_train(self) -> Statistics:
        """Of the training set; its features are computed once."""
        return self._real(self.train)

    def _real(self, images: ImageSet) -> Statistics:
        return self._statistics(images, self._activations(images, self.folder))

    def _activations(self, images: ImageSet, folder: Path) -> Rows:
        """Features, and logits if there are any, of every image."""

        def compute(indices: np.ndarray) -> Rows:
            found = self.extractor.apply(images.read(indices)[0])._asdict()
            return {name: value for name, value in found.items() if value is not None}

        with busy(f"reading {images.name}"):
            identity = images.identity() | {"extractor": self.extractor.identity}
        store = Resumable(folder, "features", identity)
        of = f"features of {images.name}"
        return fill(store, images.count, self.batch_size, compute, of, share=self.share)

    def _statistics(self, images: ImageSet, rows: Rows) -> Statistics:
        return Statistics.of(self.extractor, images.name, rows["features"])
