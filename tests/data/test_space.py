import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from data import CENTERED, UNIT, ArraySource, Pixels, Scaled, StrokeSpace
from options.errors import InvalidValue

LEVELS = np.arange(256, dtype=np.uint8)
SPACES = (UNIT, CENTERED, Pixels(-0.5, 2.5))


@pytest.mark.parametrize("space", SPACES)
def test_the_ends_of_the_grey_scale_are_the_ends_of_the_range(space):
    x = space.from_uint8(LEVELS)
    assert x.dtype == np.float32
    assert x[0] == space.low and x[-1] == space.high
    assert np.abs(np.diff(x) - space.width / 255).max() < 1e-6


@pytest.mark.parametrize("space", SPACES)
def test_uint8_survives_the_round_trip(space):
    assert np.array_equal(space.to_uint8(space.from_uint8(LEVELS)), LEVELS)
    assert np.array_equal(space.to_uint8(space.from_uint8(jnp.asarray(LEVELS))), LEVELS)


def test_to_uint8_rounds_to_the_nearest_level_and_clips():
    unit = np.array([-3.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 7.0])
    assert UNIT.to_uint8(unit).tolist() == [0, 0, 1, 255, 255]
    assert CENTERED.to_uint8(2 * unit - 1).tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("space", SPACES)
def test_unit_is_the_inverse_of_from_unit(space):
    unit = np.linspace(-1, 2, 7)
    assert np.abs(space.to_unit(space.from_unit(unit)) - unit).max() < 1e-12


@pytest.mark.parametrize(("space", "constant"), [(UNIT, 8), (CENTERED, 7)])
def test_bits_per_dim_has_the_published_constants(space, constant):
    log_p, dimensions = -123.0, 48
    expected = -log_p / (dimensions * math.log(2)) + constant
    assert space.bits_per_dim(log_p, dimensions) == pytest.approx(expected)


@pytest.mark.parametrize("space", SPACES)
def test_bits_per_dim_is_the_entropy_of_the_grey_levels(space):
    # A density so flat within a level that dequantisation costs nothing: N(110, 30^2) on [0, 256).
    y = norm(110, 30)
    x = norm(space.low + space.width * 110 / 256, space.width * 30 / 256)
    level = (LEVELS + 0.5) * space.width / 256 + space.low
    mass = np.diff(y.cdf(np.arange(257)))
    entropy = -np.sum(mass * np.log2(mass))
    bits = space.bits_per_dim(x.logpdf(level), 1)
    assert np.sum(mass * bits) == pytest.approx(entropy, abs=1e-3)


def test_an_empty_range_is_refused():
    with pytest.raises(InvalidValue, match="low: got 1.0, expected less than high = 1.0"):
        Pixels(1.0, 1.0)


def test_pixels_encode_and_decode_8_bits():
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    for space in SPACES:
        assert np.array_equal(space.decode(space.encode(images)), images)
        assert space.unit * space.width == 255
        u = np.full(images.shape, 0.25, np.float32)
        levels = 256 * space.to_unit(space.dequantized(images, u).astype(np.float64))
        assert np.abs(levels - images - 0.25).max() < 1e-4


def test_scaled_data_are_standardised_by_channel():
    data = np.random.default_rng(0).normal((3.0, -1.0), (2.0, 0.5), (10_000, 2)).astype(np.float32)
    space = Scaled((3.0, -1.0), (2.0, 0.5))
    x = space.encode(data)
    assert x.dtype == np.float32
    assert np.abs(x.mean(0)).max() < 0.05 and np.abs(x.std(0) - 1).max() < 0.05
    assert np.abs(space.decode(jnp.asarray(x)) - data).max() < 1e-5
    assert space.unit.tolist() == [2.0, 0.5] and space.low is None is space.high
    assert np.array_equal(Scaled().encode(data), data)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda space: space.bits_per_dim(-1.0, 2), "bits per dimension"),
        (lambda space: space.to_uint8(np.zeros(3)), "8-bit images"),
        (lambda space: space.from_uint8(np.zeros(3, np.uint8)), "8-bit images"),
        (lambda space: space.dequantized(np.zeros(3), np.zeros(3)), "dequantisation"),
    ],
)
def test_only_pixels_have_grey_levels(call, what):
    with pytest.raises(InvalidValue, match=rf"space: got Scaled\(.*only 8-bit pixels have {what}"):
        call(Scaled())


def test_a_space_has_data_of_its_own():
    labels = np.zeros(4, int)
    pixels = ArraySource("pixels", np.zeros((4, 2, 2, 3), np.uint8), labels)
    floats = ArraySource("floats", np.zeros((4, 2, 3), np.float32), labels)
    UNIT.check(pixels)
    Scaled().check(pixels)
    Scaled((0.0, 1.0, 2.0)).check(floats)
    with pytest.raises(InvalidValue, match="expected Scaled, since floats is of float32 values"):
        UNIT.check(floats)
    with pytest.raises(InvalidValue, match="std: .*floats has 3 channels"):
        Scaled(std=(1.0, 2.0)).check(floats)
    for options in ({"mean": (np.nan,)}, {"std": (0.0,)}, {"std": ()}, {"mean": ()}):
        with pytest.raises(InvalidValue, match=next(iter(options))):
            Scaled(**options)


def test_strokes_have_one_standard_deviation_and_a_pen():
    rows = np.array([[0, 0, 1], [3, -1, 0], [2, 4, 1]], np.float32)
    space = StrokeSpace(2.0)
    x = space.encode(jnp.asarray(rows))
    assert x.tolist() == [[0, 0, 1], [1.5, -0.5, 0], [1, 2, 1]]
    noisy = x + jnp.array([0, 0, 0.4]) * jnp.array([[1], [1], [-1]])
    decoded = space.decode(noisy)
    assert np.array_equal(decoded, rows) and decoded.dtype == np.float32
    assert space.unit.tolist() == [2, 2, 1] and space.low is None is space.high
    with pytest.raises(InvalidValue, match="std: got 0.0, expected a positive number"):
        StrokeSpace(0.0)
    two = ArraySource("two", np.zeros((4, 9, 2), np.float32), np.zeros(4, int))
    with pytest.raises(InvalidValue, match="space: .*two has 2 channels of float32"):
        StrokeSpace().check(two)
