"""Images kept on disk are the images, whatever became of the files that keep them."""

import numpy as np
import pytest
from PIL import Image

from data import Folder, Transform, resized
from data.resized import Resized
from experiment import kinds


@pytest.fixture
def source(tmp_path):
    random = np.random.default_rng(0)
    for i, side in enumerate((9, 12, 15, 20)):
        pixels = random.integers(0, 256, (side, 12, 3), np.uint8)
        (tmp_path / "set" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / "ab"[i % 2] / f"{i}.png")
    return Folder(str(tmp_path / "set")).read()


TRANSFORM = Transform(image_size=6)


def counting(source, monkeypatch):
    read = []
    get = type(source).__getitem__
    monkeypatch.setattr(type(source), "__getitem__", lambda s, i: (read.append(i), get(s, i))[1])
    return read


def test_a_file_is_decoded_once(source, tmp_path, monkeypatch):
    want = np.stack([TRANSFORM.resized(source[i]["image"]) for i in range(4)])
    read = counting(source, monkeypatch)
    for _ in range(2):  # another program finds what this one kept
        kept = Resized(source, TRANSFORM, tmp_path / "kept")
        found = kept.take(np.array([3, 0, 1, 2, 3]))
        np.testing.assert_array_equal(found["image"], want[[3, 0, 1, 2, 3]])
        assert found["label"].tolist() == source.labels[[3, 0, 1, 2, 3]].tolist()
        assert sorted(read) == [0, 1, 2, 3]
    assert kept.shape == (6, 6, 3) and kept.checksum() == source.checksum()
    assert [kept.key(i) for i in range(4)] == list(source.files)


@pytest.mark.parametrize("name", ["images", "sums"])
def test_damage_is_repaired(source, tmp_path, name):
    kept = Resized(source, TRANSFORM, tmp_path / "kept")
    want = kept.take(np.arange(4))["image"]
    (file,) = (tmp_path / "kept").glob(f"*.{name}")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    for damaged in (bytes(content), bytes(content[:-3]), b""):
        file.write_bytes(damaged)
        again = Resized(source, TRANSFORM, tmp_path / "kept")
        np.testing.assert_array_equal(again.take(np.arange(4))["image"], want)


def test_other_files_and_other_sizes_are_kept_apart(source, tmp_path):
    Resized(source, TRANSFORM, tmp_path / "kept")[0]
    for transform in (
        Transform(image_size=7),
        Transform(6, crop="none"),
        Transform(6, resize="box"),
    ):
        kept = Resized(source, transform, tmp_path / "kept")
        np.testing.assert_array_equal(kept[1]["image"], transform.resized(source[1]["image"]))
    Image.fromarray(np.zeros((9, 12, 3), np.uint8)).save(source.root / source.files[0])
    again = Folder(str(source.root)).read()
    assert not Resized(again, TRANSFORM, tmp_path / "kept")[0]["image"].any()


def test_a_full_disk_is_said_and_nothing_kept(source, tmp_path, monkeypatch, caplog):
    assert resized.fits(source, TRANSFORM, tmp_path / "not" / "there")
    usage = type("Usage", (), {"free": 4 * 4 * 108 - 1})
    monkeypatch.setattr(resized.shutil, "disk_usage", lambda path: usage)
    assert not resized.fits(source, TRANSFORM, tmp_path)
    assert "are decoded every epoch" in caplog.text


def test_training_on_a_folder_reads_what_is_kept(source, monkeypatch, caplog):
    def opened(**data):
        data = {"source": {"name": "folder", "path": str(source.root)}, "num_channels": 3} | data
        data |= {"image_size": 6, "holdout": 0.0}
        return kinds.experiment(kinds.complete({"data": data, "training": {"batch_size": 4}}))

    plain, kept = opened(keep_resized=False).loader(), opened().loader()
    read = counting(source, monkeypatch)
    for position in range(0, 12, 4):
        got, want = kept.batch_at(position), plain.batch_at(position)
        np.testing.assert_array_equal(got["image"], want["image"])
    assert isinstance(kept.source, Resized)
    assert "images of other proportions than 6 x 6 are cropped" in caplog.text
    read.clear()
    for position in range(0, 12, 4):
        kept.batch_at(position)
    assert not read
    assert not isinstance(opened(crop="random").train_source, Resized)
