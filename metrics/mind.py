"""Monge Inception Distance: a sliced Wasserstein distance between two sets of features.

    MIND = 3 dim mean_u W_2^2(u.x, u.y),    u uniform on the unit sphere               (1)
    W_2^2(a, b) = integral over q in [0, 1] of (a's quantile at q - b's quantile at q)^2  (2)

Berthet et al. 2026, "MIND: Monge Inception Distance for Generative Models Evaluation", with 1,000
directions and features of Inception; (1) is defined for any. Without covariances it needs fewer
samples than FID. Of equal numbers (2) is the mean square difference of the sorted projections;
of others it is exact too. Biased upwards for few samples: compare values of equal counts.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from options.errors import InvalidValue, Words

DIRECTIONS = 1000
BLOCK = 50  # directions at once


class Mind(NamedTuple):
    """An estimate of (1); standard_error: of having drawn finitely many directions."""

    value: float
    standard_error: float
    directions: int


def mind(
    x: Float[np.ndarray, "n dim"],
    y: Float[np.ndarray, "m dim_y"],
    directions: int = DIRECTIONS,
    seed: int = 0,
) -> Mind:
    """(1) between two sets of features, of at least one row each."""
    if x.shape[1] != y.shape[1]:
        got = Words(f"{x.shape[1]} and {y.shape[1]} dimensions")
        raise InvalidValue("features", got, "equal ones")
    dim, random = x.shape[1], np.random.default_rng(seed)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    found = []
    for first in range(0, directions, BLOCK):
        u = random.standard_normal((min(BLOCK, directions - first), dim))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        found.append(wasserstein(u @ x.T, u @ y.T))
    values = 3 * dim * np.concatenate(found)
    error = float(np.std(values, ddof=1) / math.sqrt(directions)) if directions > 1 else math.inf
    return Mind(float(values.mean()), error, directions)


def wasserstein(
    a: Float64[np.ndarray, "b n"], b: Float64[np.ndarray, "b m"]
) -> Float64[np.ndarray, "b"]:
    """(2) of each pair of rows, which need not be as long."""
    a, b = np.sort(a, axis=1), np.sort(b, axis=1)
    n, m = a.shape[1], b.shape[1]
    if n == m:
        return np.mean((a - b) ** 2, axis=1)
    # Both quantile functions are constant between neighbours of these steps, in units of 1 / (n m).
    steps = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    widths = np.diff(steps, prepend=0)
    at = steps - 1
    return (a[:, at // m] - b[:, at // n]) ** 2 @ widths / (n * m)
