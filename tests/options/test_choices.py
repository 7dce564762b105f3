"""The nearest of names and paths, and lists of names for a line."""

import dataclasses

import pytest

from options.choices import (
    did_you_mean,
    did_you_mean_path,
    listed,
    require_at_least_one,
    require_non_negative,
)
from options.errors import InvalidValue


def test_the_nearest_name_is_named():
    assert did_you_mean("dgits", ["digits", "emoji"]) == "; did you mean 'digits'?"
    assert did_you_mean("xyz", ["digits", "emoji"]) == ""


@dataclasses.dataclass
class Counted:
    count: float


@pytest.mark.parametrize("check", [require_at_least_one, require_non_negative])
def test_a_count_has_an_upper_limit_which_is_said(check):
    least = {require_at_least_one: 1, require_non_negative: 0}[check]
    for value in (least, 2**31 - 1, 1e300, float("inf")):
        check(Counted(value), "count")
    for value in (2**31, 2**63, 10**23):
        said = f"^count: got {value}, expected {least} to 2,147,483,647$"
        with pytest.raises(InvalidValue, match=said):
            check(Counted(value), "count")
    with pytest.raises(InvalidValue, match=f"^count: got 8, expected {least} to 7$"):
        check(Counted(8), "count", most=7)
    for value in (-1, float("nan")):
        with pytest.raises(InvalidValue, match="^count: got .*, expected (0 or more|at least 1)$"):
            check(Counted(value), "count")


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
