"""Whose folder it is, and whether it can be written."""

import json
import pathlib
import shutil
from types import SimpleNamespace

import pytest

from options.errors import InvalidValue, StorageError
from storage.workdir import (
    Claim,
    prepare_workdir,
    read_config,
    remember,
    require_own,
    require_space,
    require_writable,
    sole_writer,
)

CONFIG = {"data": {"name": "digits", "size": 28}, "training": {"steps": 10, "lr": 1e-3}, "seed": 0}


def changed(**fields):
    config = json.loads(json.dumps(CONFIG))
    for dotted, value in fields.items():
        section, name = dotted.split("__")
        config[section][name] = value
    return config


def claim_workdir(workdir, claim):
    """As a training does, with nothing to do in between."""
    workdir = prepare_workdir(workdir)
    require_own(workdir, claim)
    remember(workdir, claim)
    return workdir


def test_a_claimed_folder_remembers_its_config(tmp_path):
    folder = claim_workdir(tmp_path / "new" / "run", Claim(CONFIG))
    assert folder.is_absolute() and read_config(folder) == CONFIG
    claim_workdir(folder, Claim(CONFIG))


def test_another_config_is_refused_by_its_fields(tmp_path):
    claim_workdir(tmp_path, Claim(CONFIG))
    with pytest.raises(ValueError) as error:
        claim_workdir(tmp_path, Claim(changed(data__name="cats", training__decay=0.5)))
    assert 'data.name was "digits", now "cats"' in str(error.value)
    assert "training.decay was absent, now 0.5" in str(error.value)
    assert read_config(tmp_path) == CONFIG


def test_free_fields_may_change_and_force_takes_over(tmp_path):
    claim_workdir(tmp_path, Claim(CONFIG))
    claim_workdir(tmp_path, Claim(changed(training__steps=20), free=["training.steps"]))
    assert read_config(tmp_path)["training"]["steps"] == 20
    with pytest.raises(ValueError, match="data.size was 28, now 32"):
        claim_workdir(tmp_path, Claim(changed(data__size=32), free=["training"]))
    claim_workdir(tmp_path, Claim(changed(data__size=32), force=True))
    assert read_config(tmp_path)["data"]["size"] == 32


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(StorageError, match="no run was started there"):
        read_config(tmp_path)


def test_an_unwritable_workdir_is_an_error_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="workdir: .* cannot be written"):
        require_writable(tmp_path / "file" / "run")


def test_too_little_space_is_an_error_with_the_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 2**20))
    require_space(tmp_path, 4 * 2**20)
    with pytest.raises(StorageError, match="has 5 MiB free, the checkpoints .* need 6 MiB"):
        require_space(tmp_path, 6 * 2**20)


def test_a_folder_has_one_writer(tmp_path):
    with sole_writer(tmp_path):
        with pytest.raises(StorageError, match="another run is training in"), sole_writer(tmp_path):
            pass
    with sole_writer(tmp_path):
        pass


@pytest.mark.parametrize(
    "name", ["run [1]", "a*b", "what?/run", "run\\1", "a\\b/run", "[2026] project/a"]
)
def test_a_path_that_checkpoints_cannot_be_read_from_is_refused(name, tmp_path):
    with pytest.raises(InvalidValue, match="^workdir: got .* cannot be read back from a path with"):
        claim_workdir(tmp_path / name, Claim(CONFIG))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["gs://bucket/run", "s3://bucket/run", "x://bucket/run"])
def test_a_remote_folder_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for check in (require_writable, lambda path: claim_workdir(path, Claim(CONFIG))):
        for given in (name, pathlib.Path(name)):
            with pytest.raises(StorageError, match=f"workdir: got '{name}', expected a folder of"):
                check(given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", [b'{"data": {"na', b"\xff\xfe{}", b"", b"[]", b"5", 9**5 * b"["]
)
def test_a_damaged_config_is_named(content, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    for read in (read_config, lambda path: claim_workdir(path, Claim(CONFIG))):
        with pytest.raises(StorageError, match="^workdir: .*config.json is damaged: "):
            read(tmp_path)
