import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from data import CENTERED, UNIT, Range

LEVELS = np.arange(256, dtype=np.uint8)
RANGES = (UNIT, CENTERED, Range(-0.5, 2.5))


@pytest.mark.parametrize("value_range", RANGES)
def test_the_ends_of_the_grey_scale_are_the_ends_of_the_range(value_range):
    x = value_range.from_uint8(LEVELS)
    assert x.dtype == np.float32
    assert x[0] == value_range.low and x[-1] == value_range.high
    assert np.abs(np.diff(x) - value_range.width / 255).max() < 1e-6


@pytest.mark.parametrize("value_range", RANGES)
def test_uint8_survives_the_round_trip(value_range):
    assert np.array_equal(value_range.to_uint8(value_range.from_uint8(LEVELS)), LEVELS)
    assert np.array_equal(value_range.to_uint8(value_range.from_uint8(jnp.asarray(LEVELS))), LEVELS)


def test_to_uint8_rounds_to_the_nearest_level_and_clips():
    unit = np.array([-3.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 7.0])
    assert UNIT.to_uint8(unit).tolist() == [0, 0, 1, 255, 255]
    assert CENTERED.to_uint8(2 * unit - 1).tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("value_range", RANGES)
def test_unit_is_the_inverse_of_from_unit(value_range):
    unit = np.linspace(-1, 2, 7)
    assert np.abs(value_range.to_unit(value_range.from_unit(unit)) - unit).max() < 1e-12


@pytest.mark.parametrize(("value_range", "constant"), [(UNIT, 8), (CENTERED, 7)])
def test_bits_per_dim_has_the_published_constants(value_range, constant):
    log_p, dimensions = -123.0, 48
    expected = -log_p / (dimensions * math.log(2)) + constant
    assert value_range.bits_per_dim(log_p, dimensions) == pytest.approx(expected)


@pytest.mark.parametrize("value_range", RANGES)
def test_bits_per_dim_is_the_entropy_of_the_grey_levels(value_range):
    # A density so flat within a level that dequantisation costs nothing: N(110, 30^2) on [0, 256).
    y = norm(110, 30)
    x = norm(value_range.low + value_range.width * 110 / 256, value_range.width * 30 / 256)
    level = (LEVELS + 0.5) * value_range.width / 256 + value_range.low
    mass = np.diff(y.cdf(np.arange(257)))
    entropy = -np.sum(mass * np.log2(mass))
    bits = value_range.bits_per_dim(x.logpdf(level), 1)
    assert np.sum(mass * bits) == pytest.approx(entropy, abs=1e-3)


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="low < high"):
        Range(1.0, 1.0)
