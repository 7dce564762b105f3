"""Every distance by name, each with the protocol by which it was computed."""

import numpy as np
import pytest

from metrics.distances import DISTANCES, distances, parse
from metrics.fid import Moments
from metrics.statistics import Statistics
from options.errors import InvalidValue


def statistics(seed):
    x = np.random.default_rng(seed).normal(0.1 * seed, 1.0, (60, 3)).astype(np.float32)
    return Statistics("net@1", f"set {seed}", Moments.of(x), x, "resized to 9 px")


def test_no_figure_is_without_its_protocol():
    found = distances(statistics(1), statistics(2), list(DISTANCES), solver="Heun")
    names = [figure.name for figure in found]
    assert names == ["fid", "kid", "precision", "recall", "mind", "fid_infinity"]
    for figure in found:
        line = str(figure)
        for part in ("60 samples", "against set 2 (60)", "net@1", "resized to 9 px"):
            assert part in line, (part, line)
    details = {figure.name: figure.detail for figure in found}
    assert details["mind"] == "1000 directions" and details["precision"] == "k = 3"
    assert details["kid"] == "100 subsets of 30" and details["fid_infinity"].endswith("6 to 60")
    assert found[0].solver == "Heun"


def test_intervals_are_around_the_value_that_is_reported():
    plain = distances(statistics(1), statistics(2))
    resampled = distances(statistics(1), statistics(2), replicates=40)
    for before, after in zip(plain, resampled, strict=True):
        low, high = after.interval
        assert before.value == after.value and low < after.value < high and before.interval is None
        assert "40 bootstrap replicates" in after.detail and "95 % in" in str(after)


def test_names_are_checked():
    assert parse("fid, mind,") == ["fid", "mind"] and parse("") == []
    with pytest.raises(InvalidValue, match="metrics: got 'fud'.*did you mean 'fid'"):
        parse("fid,fud")
