"""Atomic writes: the whole new file, or the old one untouched."""

import pytest

from storage.files import atomic_write


def test_writes_the_file_and_its_folders(tmp_path):
    with atomic_write(tmp_path / "a" / "b.txt", "w") as file:
        file.write("new")
        assert not (tmp_path / "a" / "b.txt").exists()
    assert (tmp_path / "a" / "b.txt").read_text() == "new"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="midway"), atomic_write(path) as file:
        file.write(b"half of the new")
        raise RuntimeError("midway")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
