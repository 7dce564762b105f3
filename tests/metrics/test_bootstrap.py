"""Resampling: the intervals' width is the spread over fresh samples, and KID's is unbiased."""

import numpy as np
import pytest

from metrics.bootstrap import fid_replicates, interval, kid_replicates, resampled
from metrics.fid import Moments, frechet_distance
from metrics.kid import mmd2

DIM, N = 4, 150


def samples(seed, shift=0.4):
    return np.random.default_rng(seed).normal(shift, 1.0, (N, DIM))


def test_the_interval_is_around_the_estimate_and_as_wide_as_the_replicates():
    replicates = np.random.default_rng(0).normal(5.0, 2.0, 20_000)  # about another value
    found = interval(1.0, replicates)
    assert abs(found.low - (1 - 1.96 * 2)) < 0.1 and abs(found.high - (1 + 1.96 * 2)) < 0.1
    assert abs(found.standard_error - 2) < 0.05


def test_each_replicate_draws_as_many_as_there_are():
    counts = resampled(37, 5, seed=1)
    assert counts.shape == (5, 37) and (counts.sum(axis=1) == 37).all() and counts.max() > 1


@pytest.mark.slow
def test_errors_are_the_spread_over_fresh_samples():
    reference = np.random.default_rng(10**6).normal(size=(N, DIM))
    moments = Moments.of(reference)
    fids, kids, claimed = [], [], []
    for seed in range(60):
        x = samples(seed)
        fids.append(frechet_distance(Moments.of(x), moments))
        kids.append(mmd2(x, reference[: len(x)]))
        drawn = fid_replicates(x, moments, 60), kid_replicates(x, reference, 60)
        claimed.append([interval(0.0, d).standard_error for d in drawn])
    for found, error in zip((fids, kids), np.mean(claimed, axis=0), strict=True):
        assert 0.75 < error / np.std(found, ddof=1) < 1.3


def test_replicates_of_fid_are_fids_of_repeated_samples():
    x, reference = samples(0)[:20], Moments(9, np.zeros(DIM), np.eye(DIM))
    counts = resampled(20, 3, seed=0)
    expected = [frechet_distance(Moments.of(np.repeat(x, c, axis=0)), reference) for c in counts]
    np.testing.assert_allclose(fid_replicates(x, reference, 3), expected, rtol=1e-12)


def test_replicates_of_kid_leave_out_pairs_of_a_sample_with_itself(monkeypatch):
    from metrics import bootstrap

    x, y = samples(1)[:11], samples(2, 0.0)[:13]

    def kernel(a, b):
        return (a @ b / DIM + 1) ** 3

    counts = resampled(11, 4, seed=0)
    expected = []
    for w in counts:
        drawn = np.repeat(np.arange(11), w)
        pairs = [kernel(x[i], x[j]) for i in drawn for j in drawn if i != j]
        across = np.mean([kernel(x[i], b) for i in drawn for b in y])
        others = np.mean([kernel(y[i], y[j]) for i in range(13) for j in range(13) if i != j])
        expected.append(np.mean(pairs) + others - 2 * across)
    for block in (3, 1024):
        monkeypatch.setattr(bootstrap, "BLOCK", block)
        np.testing.assert_allclose(kid_replicates(x, y, 4), expected, rtol=1e-10)
