"""The shipped judge: sure of held-out digits, sure that the rest are none."""

import numpy as np
import pytest

from data import digits as data
from metrics import digits, rejects
from metrics.legibility import judged, legibility


@pytest.fixture(scope="module")
def report() -> dict:
    test = data("test")
    asked = (test.labels + (np.arange(1000) < 100)) % 10
    return legibility(test.images, asked, test.images, test.labels)


def test_held_out_digits_are_read_and_fakes_are_not(report):
    controls = report["controls"]
    assert controls["held_out"]["accuracy"] >= 0.98
    assert controls["held_out"]["legible"] >= 0.95
    assert controls["uniform"]["legible"] == controls["gaussian"]["legible"] == 0
    assert controls["chimera"]["legible"] <= 0.05


def test_samples_of_another_class_than_asked_do_not_count(report):
    real = report["controls"]["held_out"]
    assert abs(report["legible"] - 0.9 * real["legible"]) < 0.01
    assert abs(report["accuracy"] - 0.9 * real["accuracy"]) < 0.01
    assert np.sum(report["confusion"]) == report["samples"] == 1000
    assert np.sum(report["confusion"], axis=0).tolist() == report["histogram"]
    expected = np.sqrt(report["legible"] * (1 - report["legible"]) / 1000)
    assert abs(report["legible_standard_error"] - expected) < 1e-3


def test_without_a_class_asked_for_any_digit_counts():
    test = data("test")
    found = judged(digits.extractor(), test.images, np.full(1000, -1))
    assert found["legible"] >= 0.95 and "confusion" not in found


@pytest.mark.parametrize("name", ["overlay", "blurred", "shuffled", "blank"])
def test_the_other_rejects_are_refused_too(name):
    test = data("test")
    fakes = rejects.control_set(name, test.images, test.labels)
    assert judged(digits.extractor(), fakes, np.full(1000, -1))["legible"] <= 0.05


def test_the_weights_are_small_and_the_features_tell_sets_apart():
    assert digits.WEIGHTS.stat().st_size <= 400_000
    extractor = digits.extractor()
    assert extractor(data("test").images[:3]).shape == (3, extractor.dim)
    with pytest.raises(ValueError, match="images: got shape"):
        extractor(np.zeros((1, 32, 32, 1), np.uint8))
