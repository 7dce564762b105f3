"""Images in shards: every one once, under its number, whole or not at all, whoever writes."""

import numpy as np
import pytest
from PIL import Image

from storage import shards


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(shards, "SIZE", 4)
    random = np.random.default_rng(0)
    return random.integers(0, 256, (10, 3, 5, 3), np.uint8), random.integers(0, 9, 10)


def read(folder):
    """(images, labels) of a folder of shards, by the numbers in their names."""
    images, labels = {}, {}
    for path in folder.glob("*-*/*.png"):
        images[int(path.stem)] = np.asarray(Image.open(path)).reshape(3, 5, -1)
    for path in folder.glob("*-*/labels.txt"):
        for line in path.read_text().splitlines():
            name, label = line.split()
            labels[int(name.removesuffix(".png"))] = int(label)
    for path in folder.glob("*-*.npz"):
        first = int(path.name.partition("-")[0])
        with np.load(path) as file:
            images |= dict(enumerate(file["images"], first))
            labels |= dict(enumerate(file["labels"], first))
    return np.stack([images[i] for i in sorted(images)]), [labels[i] for i in sorted(labels)]


@pytest.mark.parametrize("kind", ["png", "npz"])
@pytest.mark.parametrize("hosts", [1, 2, 5])
def test_all_images_are_kept_by_however_many_hosts(small, tmp_path, kind, hosts):
    images, labels = small
    for index in range(hosts):
        shards.keep(tmp_path, kind, images, labels, index, hosts)
    found, classes = read(tmp_path)
    np.testing.assert_array_equal(found, images)
    assert classes == labels.tolist() and len(list(tmp_path.iterdir())) == 3


def test_grey_images_stay_grey_and_none_are_kept_unasked(small, tmp_path):
    images, labels = small
    shards.keep(tmp_path / "grey", "png", images[..., :1], labels)
    np.testing.assert_array_equal(read(tmp_path / "grey")[0], images[..., :1])
    shards.keep(tmp_path / "none", "none", images, labels)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["png", "npz"])
def test_what_was_cut_off_is_written_anew_and_what_is_there_is_left(
    small, tmp_path, kind, monkeypatch
):
    images, labels = small
    save, saved = Image.Image.save, []

    def dies(image, path):
        saved.append(path)
        if len(saved) == 6:
            raise KeyboardInterrupt
        save(image, path)

    compress, written = np.savez_compressed, []

    def dies_too(file, **arrays):
        written.append(file)
        file.write(b"PK")
        if len(written) == 2:
            raise KeyboardInterrupt
        file.seek(0)
        compress(file, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", dies)
        patch.setattr(np, "savez_compressed", dies_too)
        with pytest.raises(KeyboardInterrupt):
            shards.keep(tmp_path, kind, images, labels)
    whole = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert [path.name.removesuffix(".npz") for path in whole] == ["00000000-00000004"]
    before = whole[0].stat().st_mtime_ns
    shards.keep(tmp_path, kind, images, labels)
    np.testing.assert_array_equal(read(tmp_path)[0], images)
    assert whole[0].stat().st_mtime_ns == before
