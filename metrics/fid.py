"""Frechet distance between two sets of features, each taken as a Gaussian.

    d^2 = |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1 S_2)^(1/2)              (1)
    tr (S_1 S_2)^(1/2) = sum of the singular values of S_1^(1/2) S_2^(1/2)      (2)

Heusel et al. 2017, eq. 6. (2) needs symmetric square roots only: no general matrix root, which
fails or turns complex where a covariance is singular, as it is for fewer images than features.
Everything is float64.
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from options.errors import InvalidValue, Words


@dataclass(frozen=True)
class Moments:
    """Number, mean and unbiased covariance of the features of a set.

    count: None where a published file has the others alone.
    """

    count: int | None
    mean: Float64[np.ndarray, "dim"]
    covariance: Float64[np.ndarray, "dim dim"]

    @staticmethod
    def of(features: Float[np.ndarray, "n dim"]) -> "Moments":
        """Moments of one array of features, of at least one row."""
        x = np.asarray(features, np.float64)
        mean = x.mean(axis=0)
        centred = x - mean
        return Moments(len(x), mean, centred.T @ centred / max(len(x) - 1, 1))

    def merge(self, other: "Moments") -> "Moments":
        """Moments of both sets together, exactly (Chan et al. 1983); so a set can be streamed."""
        assert self.count is not None and other.count is not None
        n = self.count + other.count
        gap = other.mean - self.mean
        scatter = (
            (self.count - 1) * self.covariance
            + (other.count - 1) * other.covariance
            + np.outer(gap, gap) * (self.count * other.count / n)
        )
        return Moments(n, self.mean + gap * (other.count / n), scatter / (n - 1))

    @functools.cached_property
    def root(self) -> Float64[np.ndarray, "dim dim"]:
        """Symmetric root of the covariance; eigenvalues below zero are rounding of a singular
        one."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet_distance(a: Moments, b: Moments) -> float:
    """d^2 of (1). Biased upwards for small sets: compare values of equal counts only."""
    if a.mean.shape != b.mean.shape:
        got = Words(f"{a.mean.size} and {b.mean.size} dimensions")
        raise InvalidValue("features", got, "equal ones")
    fewest = min(2 if moments.count is None else moments.count for moments in (a, b))
    if fewest < 2:
        raise InvalidValue("samples", Words(f"{fewest} images"), "at least 2, for a covariance")
    overlap = np.linalg.svd(a.root @ b.root, compute_uv=False).sum()
    gap = a.mean - b.mean
    return float(gap @ gap + np.trace(a.covariance) + np.trace(b.covariance) - 2 * overlap)
