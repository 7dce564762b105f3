import numpy as np
import pytest

from configs.default import get_default_config
from data import array_file
from experiment import builders

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 5, 4, 3), np.uint8)
LABELS = np.array([0, 2, 1, 1, 0, 2])
NAMES = np.array(["cat", "dog", "owl"])


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez_compressed(tmp_path / "mine.npz", **arrays)
        return tmp_path / "mine.npz"

    array_file.cache_clear()
    return write


def test_a_split_is_its_arrays(save):
    path = save(
        train_images=IMAGES, train_labels=LABELS, class_names=NAMES,
        test_images=IMAGES[:2], test_labels=LABELS[:2], train_names=np.array(["any"] * 6),
    )  # fmt: skip
    train, test = array_file(str(path)), array_file(path, "test")
    assert np.array_equal(train.images, IMAGES) and np.array_equal(test.images, IMAGES[:2])
    assert train.labels.tolist() == LABELS.tolist() and test.labels.tolist() == [0, 2]
    assert train.class_names == test.class_names == ("cat", "dog", "owl")
    assert (train.name, train.image_shape) == ("mine/train", (5, 4, 3))
    assert array_file(path, "test") is test


def test_grey_images_need_no_axis_and_no_labels(save):
    source = array_file(save(train_images=IMAGES[..., 0]))
    assert source.image_shape == (5, 4, 1) and source.num_classes == 0
    assert np.array_equal(source[3]["image"], IMAGES[3, ..., :1])
    assert source.labels.tolist() == [0] * 6


def test_classes_without_names_are_numbered_alike_in_all_splits(save):
    path = save(
        train_images=IMAGES, train_labels=LABELS, test_images=IMAGES[:1], test_labels=LABELS[:1]
    )
    assert array_file(path).class_names == array_file(path, "test").class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"split: got 'train', expected one of \[\]"),
        ({"test_images": IMAGES}, r"split: got 'train', expected one of \['test'\], which .*mine"),
        ({"train_images": IMAGES / 255}, r"path: train_images .* is float64 \(6, 5, 4, 3\)"),
        ({"train_images": IMAGES[0, 0]}, r"path: train_images .* is uint8 \(4, 3\), expected"),
        ({"train_images": IMAGES[:0]}, "path: .*mine.npz: .*got 0 images"),
        ({"train_images": IMAGES, "train_labels": LABELS[1:]}, "path: .*6 images and 5 labels"),
        ({"train_images": IMAGES, "train_labels": LABELS / 2}, "path: train_labels .* is float64"),
        (
            {"train_images": IMAGES, "train_labels": LABELS, "class_names": NAMES[:2]},
            r"path: .*labels from 0 to 2, expected \[0, 2\)",
        ),
        ({"train_images": IMAGES, "train_labels": LABELS - 1}, "path: .*labels from -1 to 1"),
        ({"train_images": IMAGES, "class_names": NAMES}, "path: .*class names but no train_labels"),
        ({"train_images": np.array([{}])}, "path: got .*mine.npz', expected an .npz file of plain"),
    ],
)
def test_a_file_that_is_no_data_set_is_refused(save, arrays, message):
    with pytest.raises(ValueError, match=message) as refused:
        array_file(save(**arrays))
    assert "\n" not in str(refused.value)


def damaged_files(tmp_path, good: bytes):
    broken = bytearray(good)
    broken[len(good) // 3] ^= 255
    yield good[: len(good) // 2]
    yield bytes(broken)
    yield b""
    yield b"no archive at all"
    np.save(tmp_path / "array.npy", IMAGES)
    yield (tmp_path / "array.npy").read_bytes()


def test_a_damaged_file_is_refused(save, tmp_path):
    good = save(train_images=IMAGES).read_bytes()
    for number, content in enumerate(damaged_files(tmp_path, good)):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"path: got .*, expected an \.npz file of plain"):
            array_file(path)
    with pytest.raises(ValueError, match="path: got .*none.npz', expected an .npz file"):
        array_file(tmp_path / "none.npz")


def test_a_config_names_its_own_fields(save):
    config = get_default_config()
    path = save(train_images=IMAGES, train_labels=LABELS, class_names=NAMES)
    config.data.update({"name": "npz", "path": str(path), "num_channels": 3, "num_classes": 3})
    assert np.array_equal(builders.source(config, "train").images, IMAGES)
    with pytest.raises(ValueError, match="data.eval_split: got 'test', expected one of"):
        builders.source(config, config.data.eval_split)
    for field, value, has in (("num_channels", 1, "3"), ("num_classes", 4, "3 classes")):
        wrong = config.copy_and_resolve_references()
        wrong.data[field] = value
        with pytest.raises(
            ValueError, match=f"data.{field}: got {value}, but mine/train has {has}"
        ):
            builders.source(wrong, "train")
    config.data.update({"name": "folder", "path": "/nowhere"})
    with pytest.raises(FileNotFoundError, match="data.path: no folder /nowhere"):
        builders.source(config, "train")
