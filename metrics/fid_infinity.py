"""FID-infinity: the FID of endlessly many samples, by extrapolation.

    FID_N = FID_infinity + slope / N + ...                                        (1)

Chong and Forsyth 2020, section 3: the FID of N samples is biased, to first order as 1 / N with a
slope that differs between models, so that values of equal N need not rank models rightly. FID is
computed of random subsets of the samples of `points` sizes, evenly spaced from the least to all of
them, and a line in 1 / N is fitted by least squares; its intercept is the estimate. The reference
stays whole: its own bias is left.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metrics.fid import Moments, frechet_distance
from options.choices import require
from options.errors import Words

POINTS, LEAST = 15, 5000


class Extrapolation(NamedTuple):
    """The line of (1) through `values`, the FIDs of `counts` samples."""

    value: float
    slope: float
    counts: tuple[int, ...]
    values: tuple[float, ...]


def sizes(count: int, points: int = POINTS) -> list[int]:
    """The sizes of the subsets: from 5,000 or a tenth of all, whichever is less, to all."""
    least = max(2, min(LEAST, count // 10))
    return [int(n) for n in np.linspace(least, count, points)]


def fid_infinity(
    features: Float[np.ndarray, "n dim"], reference: Moments, points: int = POINTS, seed: int = 0
) -> Extrapolation:
    """The intercept of (1), of at least 20 samples."""
    count = len(features)
    require(count >= 20, "samples", Words(f"{count} images"), "at least 20, to extrapolate")
    random, counts = np.random.default_rng(seed), sizes(count, points)
    values = []
    for n in counts:
        subset = features[random.choice(count, n, replace=False)]
        values.append(frechet_distance(Moments.of(subset), reference))
    slope, intercept = np.polyfit(1 / np.array(counts), values, 1)
    return Extrapolation(float(intercept), float(slope), tuple(counts), tuple(values))
