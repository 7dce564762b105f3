"""The nearest of names and paths, and lists of names for a line."""

import pytest

from options.choices import did_you_mean, did_you_mean_path, listed


def test_the_nearest_name_is_named():
    assert did_you_mean("dgits", ["digits", "emoji"]) == "; did you mean 'digits'?"
    assert did_you_mean("xyz", ["digits", "emoji"]) == ""


@pytest.mark.parametrize(
    "asked, nearest",
    [
        ("runs/digits/weights.npz", ""),  # it is there
        ("runs/digits/wieghts.npz", "runs/digits/weights.npz"),
        ("run/digts/weights.npz", "runs/digits/weights.npz"),
        ("runs/digits/weights.npy", "runs/digits/weights.npz"),
        ("runs/digits/weights_2.npz", "runs/digits/weights.npz"),  # of its kind, not .json
        ("runs/digitz", "runs/digits"),
        ("runs/zzz/weights.npz", ""),
        ("runs/digits/weights.npz/inside", ""),
        ("runs/digits/.hiden", ""),
    ],
)
def test_the_nearest_path_is_named(asked, nearest, tmp_path, monkeypatch):
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    for name in ("weights.npz", "weights_2.json", ".hidden"):
        (tmp_path / "runs" / "digits" / name).touch()
    monkeypatch.chdir(tmp_path)
    assert did_you_mean_path(asked) == (f"; did you mean {nearest!r}?" if nearest else "")
    absolute = f"; did you mean {str(tmp_path / nearest)!r}?" if nearest else ""
    assert did_you_mean_path(tmp_path / asked) == absolute


def test_a_home_that_there_is_not_is_no_fault():
    assert did_you_mean_path("~nobody_of_this_name/x.npz") == ""


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "a, b" and listed([]) == ""
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
