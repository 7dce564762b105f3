"""Inception Score against golden values and its two extremes."""

import numpy as np
import pytest

from metrics.inception_score import inception_score


def test_matches_the_golden_scores(golden):
    file = golden("inception_fid")
    logits = file["is/logits"]
    np.testing.assert_allclose(inception_score(logits, 10), file["is/splits10"], rtol=1e-10)
    np.testing.assert_allclose(inception_score(logits, 1), file["is/splits1"], rtol=1e-10)
    shuffled = logits[file["is/permutation2020"]]
    np.testing.assert_allclose(
        inception_score(shuffled, 10), file["is/splits10_shuffle2020"], rtol=1e-10
    )


def test_lies_between_one_and_the_number_of_classes():
    assert abs(inception_score(np.zeros((20, 7)), 1)[0] - 1) < 1e-12
    sure = 1e4 * np.eye(7)[np.arange(70) % 7]
    assert abs(inception_score(sure, 1)[0] - 7) < 1e-9


def test_refuses_more_splits_than_samples():
    with pytest.raises(ValueError, match="splits: got 10"):
        inception_score(np.zeros((3, 2)))
