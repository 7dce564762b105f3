"""Logistic regression on features whose classes are Gaussians, where Bayes' rule is linear."""

import numpy as np

from metrics.linear_judge import LinearJudge


def test_it_finds_the_log_odds_of_two_gaussians():
    """N(m, s^2 I) against N(-m, s^2 I): log odds 2 m x / s^2."""
    rng = np.random.default_rng(0)
    mean, std = np.array([0.5, -0.3, 0.0]), 0.7
    labels = rng.integers(0, 2, 40_000)
    x = np.where(labels[:, None] == 0, mean, -mean) + std * rng.normal(size=(40_000, 3))
    judge = LinearJudge.fit(x.astype(np.float32), labels, weight_decay=1e-7)
    log_p = judge.log_probs(x[:500])
    np.testing.assert_allclose(log_p[:, 0] - log_p[:, 1], 2 * x[:500] @ mean / std**2, atol=0.25)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1.0, rtol=1e-6)
    # Bayes' accuracy is Phi(|m| / s).
    assert abs(judge.accuracy(x, labels) - 0.7977) < 0.01


def test_weight_decay_makes_it_less_sure():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 200)
    x = np.eye(3)[labels] + 0.01 * rng.normal(size=(200, 3))
    sure, unsure = (LinearJudge.fit(x, labels, decay).log_probs(x) for decay in (1e-4, 1.0))
    assert sure.max(1).mean() > unsure.max(1).mean()
    assert (sure.argmax(1) == labels).all()
