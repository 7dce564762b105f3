"""A classifier that judges samples: multinomial logistic regression on a network's features.

    p(y | x) = softmax(W f(x) + b)_y,    f standardised over the training set
    loss     = mean -log p(y | x) + weight_decay |W|^2 / 2

It has seen no noise and shares nothing with a classifier that guides, which would be no judge of
its own work.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize


@dataclass(frozen=True, eq=False)
class LinearJudge:
    """mean, std: of the features that it was fitted to, (dim,). weights: (dim + 1, classes)."""

    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray

    @staticmethod
    def fit(
        features: Float[np.ndarray, "n dim"],
        labels: Int[np.ndarray, "n"],
        weight_decay: float = 1e-3,
    ) -> "LinearJudge":
        """The convex optimum, by L-BFGS from 0; labels from 0 on."""
        x = features.astype(np.float64)
        mean, std = x.mean(0), x.std(0) + 1e-6
        x = _with_one((x - mean) / std)
        wanted = np.eye(int(labels.max()) + 1)[labels]
        shape = x.shape[1], wanted.shape[1]

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            w = flat.reshape(shape)
            log_p = _log_softmax(x @ w)
            penalty = np.concatenate([w[:-1], np.zeros((1, shape[1]))])
            value = -np.sum(wanted * log_p) / len(x) + weight_decay * np.sum(penalty**2) / 2
            slope = x.T @ (np.exp(log_p) - wanted) / len(x) + weight_decay * penalty
            return value, slope.ravel()

        found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B")
        return LinearJudge(mean, std, found.x.reshape(shape))

    def log_probs(self, features: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n classes"]:
        """log p(y | x) of every class."""
        return _log_softmax(_with_one((features - self.mean) / self.std) @ self.weights)

    def accuracy(self, features: Float[np.ndarray, "n dim"], labels: Int[np.ndarray, "n"]) -> float:
        """The fraction whose likeliest class is the label."""
        return float(np.mean(self.log_probs(features).argmax(1) == labels))


def _with_one(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))
