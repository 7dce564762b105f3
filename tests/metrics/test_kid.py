"""KID against golden values, its lack of bias, and the coverage of its standard error."""

import numpy as np
import pytest

from metrics.kid import draw_subsets, kid, mmd2


def test_matches_the_golden_subsets(golden):
    file = golden("inception_fid")
    x, y = file["kid/X"], file["kid/Y"]
    index_x, index_y = draw_subsets(2020, len(x), len(y), 8, 50)
    np.testing.assert_array_equal(index_x, file["kid/subsets_X"])
    np.testing.assert_array_equal(index_y, file["kid/subsets_Y"])
    result = kid(x, y, subsets=8, subset_size=50)
    assert abs(result.value - file["kid/mean"]) < 1e-12
    assert abs(result.deviation - file["kid/std"]) < 1e-12
    assert abs(mmd2(x[:130], y) - file["kid/mmd2_first130"]) < 1e-12


@pytest.mark.slow
def test_standard_error_is_the_spread_over_fresh_sets():
    random = np.random.default_rng(0)
    results = [
        kid(random.normal(size=(200, 4)), random.normal(0.4, 1.0, (200, 4)), subsets=100)
        for _ in range(60)
    ]
    spread = np.std([r.value for r in results])
    claimed = np.mean([r.standard_error for r in results])
    assert 0.7 < claimed / spread < 1.4


def test_is_zero_on_average_for_equal_distributions():
    random = np.random.default_rng(1)
    values = [mmd2(random.normal(size=(40, 3)), random.normal(size=(40, 3))) for _ in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)


def test_refuses_what_has_no_kid():
    with pytest.raises(ValueError, match="at least 4"):
        kid(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(ValueError, match="dimensions"):
        kid(np.zeros((9, 3)), np.zeros((9, 2)))
