"""Kernel Inception Distance: an unbiased estimate of the squared MMD between two sets.

    k(x, y) = (x.y / dim + 1)^3                                                         (1)
    MMD^2 = sum_{i != j} [k(x_i, x_j) + k(y_i, y_j)] / (m (m - 1)) - 2 mean k(x_i, y_j)  (2)

Binkowski et al. 2018. Means over random subsets of m from either side bound the memory. Unlike
the Frechet distance it is unbiased for any number of samples (and so can fall below zero), and it
has a standard error.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from options.errors import InvalidValue, Words


@dataclass(frozen=True)
class KID:
    """An estimate and how far to trust it.

    value: mean of (2) over the subsets.
    deviation: population standard deviation over the subsets, which papers print after the sign.
    standard_error: spread of `value` over fresh sets of this size.
    """

    value: float
    deviation: float
    standard_error: float
    subset_size: int
    subsets: int


def mmd2(x: Float[np.ndarray, "m dim"], y: Float[np.ndarray, "m dim"]) -> float:
    """Equation (2), in float64."""
    m, dim = x.shape
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    k_xx, k_yy, k_xy = ((a @ b.T / dim + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = k_xx.sum() - np.trace(k_xx) + k_yy.sum() - np.trace(k_yy)
    return float(within / (m * (m - 1)) - 2 * k_xy.mean())


def draw_subsets(
    seed: int, n_x: int, n_y: int, subsets: int, subset_size: int
) -> tuple[Int[np.ndarray, "subsets m"], Int[np.ndarray, "subsets m"]]:
    """Indices of the subsets of either side, each drawn without replacement.

    RandomState, in this order, is what torch-fidelity does: equal seeds give equal subsets.
    """
    random = np.random.RandomState(seed)
    pairs = [
        (
            random.choice(n_x, subset_size, replace=False),
            random.choice(n_y, subset_size, replace=False),
        )
        for _ in range(subsets)
    ]
    return np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])


def kid(
    x: Float[np.ndarray, "n dim"],
    y: Float[np.ndarray, "k dim_y"],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> KID:
    """KID between two sets of features of at least 4 rows each.

    subset_size is lowered to half of the smaller set, as the standard error needs.

    The error is the delete-d jackknife (Shao and Wu 1989, d = n - m): var * m / (n - m), as the
    subsets overlap and their spread over sqrt(subsets) would be far too small; plus that spread,
    the error of having drawn finitely many.
    """
    if x.shape[1] != y.shape[1]:
        got = Words(f"{x.shape[1]} and {y.shape[1]} dimensions")
        raise InvalidValue("features", got, "equal ones")
    n = min(len(x), len(y))
    if n < 4:
        raise InvalidValue("samples", Words(f"{n} images"), "at least 4, for KID")
    m = min(subset_size, n // 2)
    index_x, index_y = draw_subsets(seed, len(x), len(y), subsets, m)
    values = np.array([mmd2(x[i], y[j]) for i, j in zip(index_x, index_y, strict=True)])
    variance = float(values.var())
    error = math.sqrt(variance * (m / (n - m) + 1 / subsets))
    return KID(float(values.mean()), math.sqrt(variance), error, m, subsets)
