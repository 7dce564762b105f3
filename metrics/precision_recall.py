"""Precision and recall of samples, by the manifolds of nearest neighbours of two sets of features.

    manifold(Y) = union over y in Y of the ball around y whose radius is the distance from y to its
                  k-th nearest other point of Y                                              (1)
    precision = fraction of samples within manifold(reference)                               (2)
    recall = fraction of the reference within manifold(samples)                              (3)

Kynkaanniemi et al. 2019, eqs. 1 and 2, there of 50,000 images a side with k = 3 and features of
VGG-16. Precision falls where samples are unlike any image, recall where images are unlike any
sample. Both depend on the numbers of images: compare values of equal ones. Distances are float64,
a block of rows at a time.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from options.choices import require
from options.errors import InvalidValue, Words

NEIGHBOURS = 3
BLOCK = 1024  # rows of which distances are held at once


class PrecisionRecall(NamedTuple):
    """(2) and (3), and the k of (1)."""

    precision: float
    recall: float
    neighbours: int


def precision_recall(
    samples: Float[np.ndarray, "n dim"],
    reference: Float[np.ndarray, "m dim_r"],
    neighbours: int = NEIGHBOURS,
) -> PrecisionRecall:
    """Of two sets of features, of more than `neighbours` rows each."""
    if samples.shape[1] != reference.shape[1]:
        got = Words(f"{samples.shape[1]} and {reference.shape[1]} dimensions")
        raise InvalidValue("features", got, "equal ones")
    fewest = min(len(samples), len(reference))
    least = Words(f"{fewest} images")
    require(fewest > neighbours, "samples", least, f"more than {neighbours}, for precision")
    x, y = (np.asarray(a, np.float64) for a in (samples, reference))
    centre = y.mean(axis=0)  # cancellation in |x|^2 - 2 x.y + |y|^2 is of what is left
    x, y = x - centre, y - centre
    precision = float(np.mean(within(x, y, radii(y, neighbours))))
    recall = float(np.mean(within(y, x, radii(x, neighbours))))
    return PrecisionRecall(precision, recall, neighbours)


def radii(y: Float64[np.ndarray, "n dim"], neighbours: int) -> Float64[np.ndarray, "n"]:
    """The squared distance from each point to its k-th nearest other one."""
    found = []
    for first, squared in _blocks(y, y):
        rows = np.arange(len(squared))
        squared[rows, first + rows] = np.inf  # itself; an equal point is another one
        found.append(np.partition(squared, neighbours - 1, axis=1)[:, neighbours - 1])
    return np.concatenate(found)


def within(
    x: Float64[np.ndarray, "n dim"],
    y: Float64[np.ndarray, "m dim"],
    radius: Float64[np.ndarray, "m"],
) -> np.ndarray:
    """Whether each point of x is in any ball around the points of y, bool (n,)."""
    return np.concatenate([np.any(squared <= radius, axis=1) for _, squared in _blocks(x, y)])


def _blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Squared distances from the rows of x, BLOCK at a time, to all of y."""
    lengths = np.sum(y**2, axis=1)
    for first in range(0, len(x), BLOCK):
        rows = x[first : first + BLOCK]
        squared = np.sum(rows**2, axis=1)[:, None] - 2 * rows @ y.T + lengths
        yield first, np.maximum(squared, 0)
