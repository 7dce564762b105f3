"""A figure carries what it was computed from; features of two networks are never compared."""

import json
import math

import numpy as np
import pytest

from metrics.distances import distances
from metrics.fid import Moments
from metrics.report import Figure, Report
from metrics.statistics import Statistics


def test_mean_and_its_standard_error():
    values = np.array([1.0, 2.0, 3.0, 6.0])
    figure = Figure.mean("loss", values, reference="held out")
    assert (figure.value, figure.samples, figure.reference) == (3.0, 4, "held out")
    assert abs(figure.standard_error - np.std(values, ddof=1) / 2) < 1e-12
    assert Figure.mean("loss", values[:1]).standard_error is None


def test_json_leaves_out_what_does_not_apply_and_is_written_whole(tmp_path):
    figures = [Figure("loss", 0.5, 10, 0.1), Figure("fid", 3.0, 20, extractor="digits@1")]
    report = Report({"checkpoint": 7}, figures, {"histogram": [1, 2]})
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == {
        "about": {"checkpoint": 7},
        "figures": [
            {"name": "loss", "value": 0.5, "samples": 10, "standard_error": 0.1},
            {"name": "fid", "value": 3.0, "samples": 20, "extractor": "digits@1"},
        ],
        "details": {"histogram": [1, 2]},
    }
    assert "loss" in str(report) and "digits@1" in str(report)


def test_distances_name_both_sets_and_refuse_two_networks():
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    a = Statistics("net@1", "samples", Moments.of(x), x)
    fid, kid = distances(a, Statistics("net@1", "train", Moments.of(x + 1), x + 1), solver="Euler")
    assert abs(fid.value - 3) < 1e-5 and fid.reference == "train (12)" and fid.solver == "Euler"
    assert fid.standard_error is None and kid.standard_error > 0
    with pytest.raises(ValueError, match="got features of net@1 and net@2"):
        distances(a, Statistics("net@2", "train", Moments.of(x), x))


def test_numbers_that_are_not_finite_are_null_in_json(tmp_path):
    report = Report({}, [Figure("loss", math.inf, 2)], {"a": [np.nan, {"b": 2.0}]})
    report.write(tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert found["details"] == {"a": [None, {"b": 2.0}]} and found["figures"][0]["value"] is None
