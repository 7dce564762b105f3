"""How long a line is, in points or columns: characters take so many each, and hands more or fewer.

    points = exp(b . s) sum_k a[text_k],    s = mean of the style's features               (1)
    points = c[writer] sum_k a[text_k]      without a style, for a writer that is known    (2)

a and c by least squares on lines whose points and writers are known (`points_of`), then b on the
logarithm of what a leaves, with a ridge.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import nnls

from options.errors import InvalidValue, Words

ROUNDS = 5  # of fitting one and then the other; by the third a and b move no more
PRIOR = 3.0  # lines' worth of the mean number of points, by which rare characters are held
RIDGE = 30.0


@dataclasses.dataclass(frozen=True)
class LengthModel:
    """Equations (1) and (2); without numbers before `fit`.

    Attributes:
      points: a, of each token, the first that of no character. hand: b, of each feature of a style.
      writers: c, of each writer by number, 0 for one without lines.
    """

    points: tuple[float, ...] = ()
    hand: tuple[float, ...] = ()
    writers: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls,
        points: tuple[float, ...],
        tokens: Int[np.ndarray, "n characters"],
        lengths: Int[np.ndarray, "n"],
        styles: Float[np.ndarray, "n c"],
        writers: tuple[float, ...] = (),
    ) -> "LengthModel":
        """b, for a and c of `points_of`. styles: (n, 0) for a model without."""
        left = np.log(lengths / np.maximum(np.asarray(points)[tokens].sum(1), 1.0))
        square = styles.T @ styles + RIDGE * np.eye(styles.shape[1])
        hand = np.linalg.solve(square, styles.T @ left)
        return cls(points, tuple(np.round(hand, 5).tolist()), writers)

    def knows(self, writers: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        """Which of some writers, by number, had lines, all where c is not known; -1 is none."""
        if not self.writers:
            return writers >= 0
        known = np.array([*self.writers, 0.0]) > 0  # the last stands for -1 too
        return known[np.minimum(writers, len(self.writers))]

    def predict(
        self,
        tokens: Int[np.ndarray, "n characters"],
        styles: Float[np.ndarray, "n c"],
        writers: Int[np.ndarray, "n"] | None = None,
    ) -> Int[np.ndarray, "n"]:
        """Points of each line, at least 1; InvalidValue before `fit`.

        writers: by number, where there is no style; of one that is not known, (2) has c = 1.
        """
        if not self.points:
            raise InvalidValue("length.points", Words("none"), "those of a trained model")
        of_text = np.asarray(self.points)[tokens].sum(1)
        found = of_text * np.exp(styles @ np.asarray(self.hand[: styles.shape[1]]))
        if writers is not None and not styles.shape[1]:
            factors = np.array([*self.writers, 1.0])[np.minimum(writers, len(self.writers))]
            found *= np.where(self.knows(writers), factors, 1.0)
        return np.maximum(np.rint(found), 1).astype(int)


def points_of(
    tokens: Int[np.ndarray, "n characters"],
    lengths: Int[np.ndarray, "n"],
    writers: Int[np.ndarray, "n"],
    size: int,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """a of (1), of `size` tokens, and c of (2): least squares and the factors in turn."""
    counts = np.stack([np.bincount(row, minlength=size) for row in tokens])[:, 1:]
    typical = lengths.sum() / counts.sum()
    factor, points = np.ones(len(tokens)), np.full(size - 1, typical)
    for _ in range(ROUNDS):
        a = np.vstack([counts * factor[:, None], PRIOR * np.eye(size - 1)])
        points, _ = nnls(a, np.concatenate([lengths, np.full(size - 1, PRIOR * typical)]))
        of_writer = np.bincount(writers, lengths) / np.maximum(
            np.bincount(writers, counts @ points), 1.0
        )
        factor = of_writer[writers]
    return (0.0, *np.round(points, 3).tolist()), tuple(np.round(of_writer, 4).tolist())


def mean_style(style: Float[np.ndarray, "n places c"]) -> Float[np.ndarray, "n c"]:
    """s of (1)."""
    return np.asarray(style, np.float64).mean(1)
