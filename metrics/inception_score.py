"""Inception Score: how sure, and how varied, a classifier finds the samples.

    IS = exp( mean_n KL( p(y | x_n) || p(y) ) )        with p(y) = mean_n p(y | x_n)

Salimans et al. 2016. Between 1 and the number of classes. It never sees a real image, so it is a
metric to stand beside another, not on its own.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax

from options.choices import require


def inception_score(
    logits: Float[np.ndarray, "n classes"], splits: int = 10
) -> tuple[float, float]:
    """Mean and population standard deviation of the score over `splits` consecutive chunks.

    Shuffle the rows first if neighbours are of one class.
    """
    n = len(logits)
    require(1 <= splits <= n, "splits", splits, f"between 1 and the {n} samples")
    log_p = log_softmax(np.asarray(logits, np.float64), axis=1)
    scores = []
    for i in range(splits):
        chunk = log_p[i * n // splits : (i + 1) * n // splits]
        p = np.exp(chunk)
        marginal = p.mean(axis=0)
        # A class that no sample has a part in adds 0 log 0 = 0.
        log_marginal = np.log(np.maximum(marginal, np.finfo(np.float64).tiny))
        scores.append(np.exp(np.mean(np.sum(p * (chunk - log_marginal), axis=1))))
    return float(np.mean(scores)), float(np.std(scores))
