"""FID and KID between two folders by one command."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from data import digits
from metrics import compare
from metrics.extractors import load
from metrics.fid import Moments, frechet_distance


def write_folder(path, images):
    path.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(path / f"{i:04d}.png")
    return path


def test_the_command_compares_every_readable_image(tmp_path, monkeypatch, capsys):
    real = digits("test").images
    first, second = real[:60], real[60:150]
    a, b = write_folder(tmp_path / "a", first[:41]), write_folder(tmp_path / "b", second)
    write_folder(a / "more", first[41:])  # as a stray folder is
    (a / "notes.txt").write_text("no picture")
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["compare", str(a), str(b), "--out", str(out)])
    compare.main()
    written = json.loads(out.read_text())
    fid, kid = written["figures"]
    extractor = load("digits")
    expected = frechet_distance(Moments.of(extractor(first)), Moments.of(extractor(second)))
    assert abs(fid["value"] - expected) < 1e-3 * expected
    assert (fid["samples"], fid["reference"]) == (60, "b (90)")
    assert fid["extractor"] == extractor.identity and kid["standard_error"] > 0
    assert any("notes.txt" in names for names in written["about"]["left_out"][str(a)].values())
    assert "fid" in capsys.readouterr().out


def test_kept_statistics_stand_in_for_the_folder(tmp_path):
    real = digits("test").images
    a, b = write_folder(tmp_path / "a", real[:20]), write_folder(tmp_path / "b", real[20:50])
    report, statistics = compare.compare(a, b, load("digits"), channels=1)
    statistics.save(tmp_path / "b.npz")
    again, _ = compare.compare(a, tmp_path / "b.npz", load("digits"), channels=1)
    assert again.figures == report.figures


def test_sizes_that_differ_are_an_error_until_a_size_is_given(tmp_path):
    random = np.random.default_rng(0)
    a = write_folder(tmp_path / "a", random.integers(0, 256, (6, 28, 28, 1), np.uint8))
    b = write_folder(tmp_path / "b", random.integers(0, 256, (6, 40, 30, 1), np.uint8))
    with pytest.raises(ValueError, match="size: got none"):
        compare.compare(a, b, load("digits"), channels=1)
    report, _ = compare.compare(a, b, load("digits"), channels=1, size=28)
    assert [figure.name for figure in report.figures] == ["fid", "kid"]
    assert report.figures[0].reference == "b at 28 (6)"
    again, _ = compare.compare(a, b, load("digits"), channels=1, size=(28, 28))
    assert again.figures[0].value == report.figures[0].value


def test_names_the_wrong_extractor_and_missing_weights():
    with pytest.raises(ValueError, match="extractor: got 'inception_v9'"):
        load("inception_v9")
    with pytest.raises(
        ValueError, match="weights: got none, expected a file of efficientnet_lite0"
    ):
        load("efficientnet_lite0")
