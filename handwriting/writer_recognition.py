"""Whether lines look like those of the writer whose style was asked for.

    recognised   of writers that the classifier knows: how often it names the right one
    nearest      of any writers: how often the line with the nearest features is by the same one

Both are worth what the network is worth, so give them beside those of real lines.
"""

import numpy as np
from jaxtyping import Array, Float, Shaped

from options.choices import require


def recognised(
    logits: Float[Array | np.ndarray, "n writers"],
    known: Shaped[np.ndarray, " writers"],
    writers: Shaped[np.ndarray, "n"],
) -> float:
    """The fraction of lines put down to their writers.

    known: the writer of each logit, by number or name, as `writers` are given.
    """
    require(np.isin(writers, known).all(), "writers", "strangers", "writers that are known")
    return float(np.mean(known[np.argmax(logits, axis=1)] == writers))


def nearest(
    features: Float[Array | np.ndarray, "n ..."],
    writers: Shaped[np.ndarray, "n"],
    among: Float[Array | np.ndarray, "m ..."] | None = None,
    among_writers: Shaped[np.ndarray, "m"] | None = None,
) -> float:
    """The fraction of lines whose nearest line, by the mean feature, is by the same writer.

    among: the lines to look among; by default the others of `features`.
    """
    own = _means(features)
    others = own if among is None else _means(among)
    names = writers if among_writers is None else among_writers
    distance = np.sum(own**2, 1)[:, None] + np.sum(others**2, 1) - 2 * own @ others.T
    if among is None:
        np.fill_diagonal(distance, np.inf)
    return float(np.mean(names[np.argmin(distance, axis=1)] == writers))


def _means(features: Float[Array | np.ndarray, "n ..."]) -> Float[np.ndarray, "n c"]:
    """Over all axes but the first and the last, float64."""
    between = tuple(range(1, features.ndim - 1))
    return np.asarray(features, np.float64).mean(axis=between)
