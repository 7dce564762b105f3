import numpy as np
import pytest
from scipy.stats import kstest

from data.randomness import Purpose, permutation, uniforms


@pytest.mark.parametrize("draws", [1, 7, 8, 9, 784])
def test_a_row_depends_on_its_position_only(draws):
    whole = uniforms(3, Purpose.FLIP, range(100, 120), draws)
    assert whole.shape == (20, draws) and whole.dtype == np.float32
    for start, stop in ((100, 101), (104, 111), (119, 120)):
        part = uniforms(3, Purpose.FLIP, range(start, stop), draws)
        assert np.array_equal(part, whole[start - 100 : stop - 100])


def test_seeds_purposes_and_positions_are_independent():
    streams = [
        uniforms(seed, purpose, range(start, start + 500), 8).ravel()
        for seed in (0, 1, 2**64 - 1)
        for purpose in (Purpose.CROP, Purpose.DEQUANTIZE)
        for start in (0, 500, 2**40)
    ]
    correlation = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlation).max() < 0.08  # 5 standard deviations of 4000 draws


def test_the_numbers_are_uniform():
    u = uniforms(0, Purpose.DEQUANTIZE, range(1000), 16)
    assert 0 <= u.min() and u.max() < 1
    assert kstest(u.ravel(), "uniform").pvalue > 1e-3


def test_each_epoch_has_its_own_order_of_all_examples():
    orders = [permutation(seed, epoch, 50) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert np.array_equal(permutation(0, 1, 50), orders[1])
