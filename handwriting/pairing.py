"""For every line of a set another one by the same writer, from which its style is taken."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int


class Pairing(NamedTuple):
    """other: for every line the number of another by the same writer, its own where there is none.
    alone: how many lines have none."""

    other: Int[np.ndarray, "n"]
    alone: int


def pair(writers: Int[np.ndarray, "n"], seed: int = 0) -> Pairing:
    """Drawn uniformly from the writer's other lines; the same for the same writers and seed.

    What one writer's lines are paired with does not depend on the lines of the others.
    """
    other = np.arange(len(writers))
    alone = 0
    for writer in np.unique(writers):
        lines = np.flatnonzero(writers == writer)
        n = len(lines)
        if n == 1:
            alone += 1
            continue
        rng = np.random.default_rng([seed, int(writer)])
        ahead = rng.integers(1, n, size=n)
        other[lines] = lines[(np.arange(n) + ahead) % n]
    return Pairing(other, alone)
