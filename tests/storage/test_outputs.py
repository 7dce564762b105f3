"""Folders of outputs: names that can be read, and no command in another's folder."""

import json

import pytest

from options.errors import StorageError
from storage.outputs import DEFAULT, LONGEST, claimed, named, spelled


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.5, "0.5"),
        (50.0, "50"),
        (1e-05, "1e-05"),
        (True, "True"),
        (None, "None"),
        ("", "none"),
        ("3,7", "3+7"),
        ((48, 64), "48+64"),
        ("docs/images/mask.png", "mask"),
        ("runs/a,runs/b.npz", "a+b"),
        ("../..", "none"),
        ("a b*c", "a_b_c"),
        ("mine:Heun", "mine_Heun"),
        ("Größe", "Größe"),
    ],
)
def test_values_are_parts_of_a_name(value, said):
    assert spelled(value) == said


def test_a_name_that_would_be_too_long_is_cut_between_parts_and_told_apart():
    assert named(["ddim", "eta=0.5"]) == "ddim-eta=0.5" and named([]) == DEFAULT
    parts = [f"field_{i}={'x' * 12}" for i in range(9)]
    long, other = named(parts), named([*parts[:-1], "field_8=y"])
    assert len(long) <= LONGEST and len(other) <= LONGEST and long != other
    assert long.rpartition("-")[0] == "-".join(parts[:3]) == other.rpartition("-")[0]
    assert len(named(["x" * 500])) == 8


def test_the_same_settings_find_their_folder_again(tmp_path):
    settings = {"config": {"sampling.num_steps": 20, "data.image_size": (28, 28)}}
    folder = claimed(tmp_path, "default", settings)
    assert folder == tmp_path / "default" == claimed(tmp_path, "default", settings)
    kept = json.loads((folder / "settings.json").read_text())
    assert kept["config"]["sampling.num_steps"] == 20


def test_other_settings_of_the_same_name_have_a_folder_of_their_own(tmp_path):
    """As of a workdir that remembers another config than when it was sampled."""
    first = claimed(tmp_path, "default", {"steps": 20, "weights": "a"})
    (first / "samples.png").write_text("of the first")
    second = claimed(tmp_path, "default", {"steps": 50, "weights": "a"})
    assert second != first and second.name.startswith("default-")
    assert second == claimed(tmp_path, "default", {"steps": 50, "weights": "a"})
    assert json.loads((first / "settings.json").read_text())["steps"] == 20


def test_a_field_that_another_version_added_sets_nothing_apart(tmp_path):
    first = claimed(tmp_path, "default", {"steps": 20})
    assert claimed(tmp_path, "default", {"steps": 20, "new": 1}) == first


@pytest.mark.parametrize(
    "damage", ["{", "[1]", "5", "[" * 100_000], ids=["cut", "list", "number", "deep"]
)
def test_damaged_settings_are_named(damage, tmp_path):
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "settings.json").write_text(damage)
    with pytest.raises(StorageError, match=r"settings.json is damaged"):
        claimed(tmp_path, "default", {"steps": 20})


def test_infinite_settings_are_strict_json_and_found_again(tmp_path):
    settings = {"config": {"s_max": float("inf")}}
    folder = claimed(tmp_path, "a", settings)
    assert json.loads((folder / "settings.json").read_text())["config"] == {"s_max": "inf"}
    assert claimed(tmp_path, "a", settings) == folder
