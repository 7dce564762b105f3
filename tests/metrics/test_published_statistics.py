"""Statistics files of other programs: the same distances, and whose they are is never silent."""

import numpy as np
import pytest

from metrics.distances import distances
from metrics.features import FeatureExtractor
from metrics.fid import Moments
from metrics.published_statistics import WRITERS, load, write_activations, write_moments
from metrics.statistics import Statistics
from options.errors import InvalidValue

INCEPTION, TF1, OTHER = (
    FeatureExtractor(name, "1", 3, len, preprocessing="resized")
    for name in ("inception", "inception_tf1", "digits")
)


def statistics(extractor, seed=0, count=30):
    x = np.random.default_rng(seed).normal(seed, 1.0, (count, 3)).astype(np.float32)
    return Statistics.of(extractor, f"set {seed}", x)


def test_moments_are_read_as_pytorch_fid_writes_them(tmp_path):
    of = statistics(INCEPTION)
    x = of.features.astype(np.float64)
    np.savez_compressed(tmp_path / "s.npz", mu=x.mean(axis=0), sigma=np.cov(x, rowvar=False))
    found = load(tmp_path / "s.npz", INCEPTION)
    np.testing.assert_allclose(found.moments.covariance, of.moments.covariance, rtol=1e-12)
    assert found.moments.count is None and len(found.features) == 0
    assert found.data == "s.npz: mu and sigma of inception, which is assumed"
    stated = load(tmp_path / "s.npz", TF1, "inception_tf1")
    assert stated.data.endswith("of inception_tf1, as stated")


def test_activations_are_read_as_the_reference_writes_them(tmp_path):
    of = statistics(TF1)
    np.savez_compressed(tmp_path / "s.npz", pool_3=of.features, logits=np.zeros((30, 2)))
    found = load(tmp_path / "s.npz", TF1)
    assert found.moments.count == 30 and np.array_equal(found.features, of.features)
    np.testing.assert_array_equal(found.moments.covariance, of.moments.covariance)
    np.savez(tmp_path / "flat.npz", pool_3=of.features[:, None, None])
    assert load(tmp_path / "flat.npz", TF1).moments.count == 30


@pytest.mark.parametrize("layout, kinds", [("own", 2), ("moments", 1), ("activations", 2)])
def test_what_is_written_gives_the_same_distances(tmp_path, layout, kinds, capsys):
    samples, reference = statistics(INCEPTION, 1), statistics(INCEPTION, 2)
    WRITERS[layout](tmp_path / "r.npz", reference)
    stated = "" if layout == "own" else "inception"
    found = distances(samples, load(tmp_path / "r.npz", INCEPTION, stated))
    expected = distances(samples, reference)[:kinds]
    assert [(f.name, f.value) for f in found] == [(f.name, f.value) for f in expected]
    said = "has moments and no features: no kid" in capsys.readouterr().out
    assert said == (kinds == 1)
    unknown = "(number unknown)" in found[0].reference
    assert unknown == (layout == "moments") and found[0].preprocessing == "resized"


def test_of_another_extractor_they_are_refused(tmp_path):
    write_moments(tmp_path / "m.npz", statistics(INCEPTION))
    write_activations(tmp_path / "a.npz", statistics(TF1))
    for name, extractor, stated, said in (
        ("m", TF1, "", r"mu and sigma\) made by inception, which is assumed"),
        ("a", INCEPTION, "", r"pool_3\) made by inception_tf1, which is assumed"),
        ("m", OTHER, "", "made by inception, which is assumed"),
        ("m", INCEPTION, "inception_tf1", "made by inception_tf1, as stated"),
    ):
        with pytest.raises(InvalidValue, match=f"{said}, expected those of {extractor.name}"):
            load(tmp_path / f"{name}.npz", extractor, stated)


def test_what_cannot_be_is_refused_by_its_file(tmp_path):
    statistics(INCEPTION).save(tmp_path / "own.npz")
    with pytest.raises(InvalidValue, match="reference_by: got 'inception'"):
        load(tmp_path / "own.npz", INCEPTION, "inception")
    np.savez(tmp_path / "bad.npz", mu=np.zeros(3), sigma=np.zeros((2, 3)))
    with pytest.raises(InvalidValue, match="bad.npz: it holds no statistics: mu of"):
        load(tmp_path / "bad.npz", INCEPTION)
    np.savez(tmp_path / "small.npz", mu=np.zeros(2), sigma=np.eye(2))
    with pytest.raises(InvalidValue, match="statistics of 2 features, expected 3"):
        load(tmp_path / "small.npz", INCEPTION)
    (tmp_path / "none.npz").write_bytes(b"<html>")
    with pytest.raises(InvalidValue, match="none.npz: it holds no statistics"):
        load(tmp_path / "none.npz", INCEPTION)
    moments = Statistics("inception@1", "m", Moments.of(np.zeros((2, 3))), np.zeros((0, 3), "f4"))
    with pytest.raises(InvalidValue, match="save-as: got moments alone"):
        write_activations(tmp_path / "no.npz", moments)
