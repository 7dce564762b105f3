"""Geometry Score: how far two sets of points differ in their holes (Khrulkov and Oseledets 2018).

    alpha_max = gamma max distance of a landmark from a point                              (1)
    RLT(i)    = fraction of alpha in [0, alpha_max] at which there are i holes              (2)
    MRLT(i)   = mean of RLT(i) over random choices of landmarks                             (3)
    score     = sum over i of (MRLT_1(i) - MRLT_2(i))^2                                     (4)

Holes are the one-dimensional homology, over Z / 2, of the relaxed witness complex of L_0 landmarks
at the scale alpha, all points being witnesses; it comes from gudhi. Their algorithm 1 with the
choices of their code: gamma = N / 5000 / 128 for N points, distances where gudhi expects squares,
landmarks without replacement, and holes from the 100th on left out. Two sets of one distribution
differ too: give the score of such a pair beside every score.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from options.choices import require, require_at_least_one, require_non_negative
from options.errors import Words
from options.progress import progress_bar
from options.project import extra


@dataclass(frozen=True)
class GeometryScore:
    """(4) and what it is made of.

    Attributes:
      landmarks: L_0.
      gamma: of (1); 0 for N / 5000 / 128.
      most: RLT(i) is taken of i < most.
      draws: choices of landmarks in (3).
      seed: of those.
    """

    landmarks: int = 64
    gamma: float = 0.0
    most: int = 100
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least_one(self, "landmarks", "most", "draws")
        require_non_negative(self, "gamma")

    def __call__(self, a: Float[np.ndarray, "n dim"], b: Float[np.ndarray, "m dim"]) -> float:
        """(4) of two sets of points. NotInstalled without the extra `gudhi`."""
        return float(np.sum((self.lifetimes(a) - self.lifetimes(b)) ** 2))

    def lifetimes(self, points: Float[np.ndarray, "n dim"]) -> Float64[np.ndarray, " most"]:
        """(3), which sums to 1 or less. InvalidValue for fewer points than landmarks."""
        got = Words(f"{len(points)} of them")
        require(len(points) >= self.landmarks, "points", got, f"at least {self.landmarks}")
        rng = np.random.default_rng(self.seed)
        centred = points - points.mean(axis=0)  # fewer digits are lost in differences of squares
        total = np.zeros(self.most)
        for _ in progress_bar(range(self.draws), "geometry score", unit="draw"):
            chosen = rng.choice(len(points), self.landmarks, replace=False)
            total += self._lifetimes(centred, centred[chosen])
        return total / self.draws

    def _lifetimes(self, points: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(2) for one choice of landmarks."""
        distance = distances(points, landmarks)
        largest = float(distance.max()) * (self.gamma or len(points) / 5000 / 128)
        if largest == 0:
            return relative_lifetimes(np.zeros((0, 2)), 1.0, self.most)
        return relative_lifetimes(holes(distance, largest), largest, self.most)


def distances(
    points: Float[np.ndarray, "n dim"], landmarks: Float[np.ndarray, "m dim"]
) -> Float64[np.ndarray, "n m"]:
    """Euclidean, through one product of matrices: points may have thousands of coordinates."""
    a, b = np.asarray(points, np.float64), np.asarray(landmarks, np.float64)
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def holes(
    distance: Float[np.ndarray, "n landmarks"], largest: float
) -> Float[np.ndarray, "count 2"]:
    """The intervals of alpha, up to `largest`, in which each hole exists; inf where it stays.

    distance: of every witness from every landmark. NotInstalled without the extra `gudhi`.
    """
    with extra("gudhi"):
        import gudhi
    order = np.argsort(distance, axis=1, kind="stable")
    ordered = np.take_along_axis(distance, order, axis=1)
    # A simplex has at most three vertices, so the nearest landmark outside of it is at most the
    # fourth; what is farther than that by the scale is in no simplex that the witness sees.
    reach = ordered[:, :4].max(axis=1, keepdims=True) + largest
    count = int((ordered <= reach).sum(axis=1).max()) + 1
    near = zip(order[:, :count].tolist(), ordered[:, :count].tolist(), strict=True)
    table = [list(zip(row, values, strict=True)) for row, values in near]
    complex_ = gudhi.WitnessComplex(nearest_landmark_table=table)
    tree = complex_.create_simplex_tree(max_alpha_square=largest, limit_dimension=2)
    tree.compute_persistence(homology_coeff_field=2)
    return np.asarray(tree.persistence_intervals_in_dimension(1)).reshape(-1, 2)


def relative_lifetimes(
    intervals: Float[np.ndarray, "count 2"], largest: float, most: int
) -> Float64[np.ndarray, " most"]:
    """(2) from the intervals of the holes."""
    ends = np.clip(intervals, 0, largest)
    edges = np.unique(np.concatenate([[0, largest], ends.reshape(-1)]))
    middles = (edges[1:] + edges[:-1]) / 2
    alive = (ends[:, :1] <= middles) & (middles <= ends[:, 1:])
    counts = alive.sum(axis=0)
    kept = counts < most
    found = np.bincount(counts[kept], np.diff(edges)[kept], minlength=most)
    return found / largest
