import numpy as np
import pytest

from data import SOURCES, Loader, Scaled, Transform, arrays
from data.arrays import is_far
from experiment import kinds
from options.errors import InvalidValue, UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 5, 4, 3), np.uint8)
LABELS = np.array([0, 2, 1, 1, 0, 2])
NAMES = np.array(["cat", "dog", "owl"])


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez_compressed(tmp_path / "mine.npz", **arrays)
        return tmp_path / "mine.npz"

    arrays.cache_clear()
    return write


def test_a_split_is_its_arrays(save):
    path = save(
        train_images=IMAGES, train_labels=LABELS, class_names=NAMES,
        test_images=IMAGES[:2], test_labels=LABELS[:2], train_names=np.array(["any"] * 6),
    )  # fmt: skip
    train, test = arrays(str(path)), arrays(path, "test")
    assert np.array_equal(train.images, IMAGES) and np.array_equal(test.images, IMAGES[:2])
    assert train.labels.tolist() == LABELS.tolist() and test.labels.tolist() == [0, 2]
    assert train.class_names == test.class_names == ("cat", "dog", "owl")
    assert (train.name, train.shape) == ("mine/train", (5, 4, 3))
    assert arrays(path, "test") is test


def test_grey_images_need_no_axis_and_no_labels(save):
    source = arrays(save(train_images=IMAGES[..., 0]))
    assert source.shape == (5, 4, 1) and source.num_classes == 0
    assert np.array_equal(source[3]["image"], IMAGES[3, ..., :1])
    assert source.labels.tolist() == [0] * 6


def test_classes_without_names_are_numbered_alike_in_all_splits(save):
    path = save(
        train_images=IMAGES, train_labels=LABELS, test_images=IMAGES[:1], test_labels=LABELS[:1]
    )
    assert arrays(path).class_names == arrays(path, "test").class_names == ("0", "1", "2")


FIRST = np.zeros((6, 3, 16, 16), np.uint8)
SEQUENCES = np.random.default_rng(1).normal(size=(6, 9, 2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"path: got .*mine.npz with the arrays \[\], expected an array train_images or"),
        ({"images": IMAGES}, r"the arrays \['images'\], expected an array train_images or"),
        ({"test_images": IMAGES}, r"split: got 'train', expected one of \['test'\], which .*mine"),
        (
            {"train_images": IMAGES, "train_data": IMAGES},
            "path: .*train_data.*expected one of them",
        ),
        ({"train_images": IMAGES * 1j}, r"path: got train_images .* complex128 \(6, 5, 4, 3\)"),
        ({"train_images": IMAGES[0, 0]}, r"path: got train_images .* uint8 \(4, 3\), expected"),
        ({"train_images": FIRST}, r"train_images .*\(6, 3, 16, 16\), expected channels last"),
        ({"train_images": np.zeros((6, 3, 16, 32))}, r"\(6, 3, 16, 32\), expected channels last"),
        ({"train_images": np.zeros((6, 1, 32, 8))}, r"\(6, 1, 32, 8\), expected channels last"),
        ({"train_images": np.zeros((6, 5, 16, 16))}, r"\(6, 5, 16, 16\), expected channels last"),
        (
            {"train_images": IMAGES, "train_labels": (LABELS - 1).astype(np.uint8)},
            "train_labels of .*label 255, far above all others, expected class_names",
        ),
        (
            {"train_images": IMAGES, "train_labels": (LABELS - 1).astype(np.uint16)},
            "train_labels of .*label 65535, far above",
        ),
        (
            {"train_images": IMAGES, "train_labels": np.array([{}] * 6)},
            "path: got train_labels of .*mine.npz, expected an .npz file of plain arrays$",
        ),
        ({"train_images": IMAGES[:0]}, "path: .*mine.npz: .*got 0 examples"),
        ({"train_images": IMAGES.astype(int) + 2**24}, "train_images .*numbers above 2"),
        ({"train_data": SEQUENCES * [1, np.nan]}, "train_data .*54 values that are not finite"),
        ({"train_data": SEQUENCES * 1e39}, "train_data .* values that are not finite"),
        ({"train_images": IMAGES, "train_labels": LABELS[1:]}, "path: .*6 examples and 5 labels"),
        ({"train_images": IMAGES, "train_labels": LABELS / 2}, "path: got train_labels .* float64"),
        (
            {"train_images": IMAGES, "train_labels": np.array(["cat", "dog"] * 3)},
            r"path: got train_labels of .*<U3 \(6,\), expected integers",
        ),
        (
            {"train_images": IMAGES, "train_labels": LABELS.astype(np.uint32) - np.uint32(1)},
            "train_labels .*label 4294967295, expected class_names, or labels below 65536",
        ),
        (
            {"train_images": IMAGES, "train_labels": LABELS, "class_names": NAMES[:2]},
            r"path: .*labels from 0 to 2, expected \[0, 2\)",
        ),
        ({"train_images": IMAGES, "train_labels": LABELS - 1}, "path: .*labels from -1 to 1"),
        (
            {"train_images": IMAGES, "train_labels": LABELS, "class_names": np.array("cat")},
            r"class_names of .*: <U3 \(\), expected text \(classes,\)",
        ),
        (
            {"train_images": IMAGES, "train_labels": LABELS, "class_names": np.array([b"cat"])},
            r"class_names of .*: |S3 \(1,\), expected text",
        ),
        ({"train_images": IMAGES, "class_names": NAMES}, "classes in .*array train_labels too"),
        (
            {"train_images": np.array([{}])},
            "path: got train_images of .*mine.npz, expected an .npz file of plain arrays$",
        ),
        ({"train_images": IMAGES, "train_lengths": LABELS}, "train_lengths .*expected integers"),
        (
            {"train_data": SEQUENCES, "train_lengths": LABELS},
            "lengths from 0 to 2, expected 1 to 9",
        ),
        ({"train_data": SEQUENCES, "train_lengths": LABELS + 8}, "lengths from 8 to 10"),
        ({"train_data": SEQUENCES, "train_lengths": LABELS / 1}, "train_lengths .*float64"),
        ({"train_data": SEQUENCES, "train_mask": np.ones((6, 8))}, r"mask \(6, 8, 1\), expected"),
        ({"train_data": SEQUENCES, "train_mask": np.zeros((6, 9))}, "example 0, of which nothing"),
        (
            {"train_data": SEQUENCES, "train_mask": np.ones((6, 9)), "train_lengths": LABELS + 1},
            "train_lengths .*a train_mask beside it",
        ),
    ],
)
def test_a_file_that_is_no_data_set_is_refused(save, given, message):
    with pytest.raises(InvalidValue, match=message) as refused:
        arrays(save(**given))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["mine.npz", "mine.npy"])
def test_a_page_is_no_file_of_arrays(name, tmp_path):
    (tmp_path / name).write_text("<html>404</html>")
    with pytest.raises(
        InvalidValue, match=f"^path: got .*{name}', expected an .np. file of plain arrays$"
    ):
        arrays(tmp_path / name)


@pytest.mark.parametrize("shape", [(6, 4, 28, 3), (6, 3, 16, 4), (6, 28, 28, 5), (6, 16, 8, 32)])
def test_channels_last_are_taken(shape, save):
    assert arrays(save(train_images=np.zeros(shape))).shape == shape[1:]


@pytest.mark.parametrize(
    "labels, far",
    [
        ([0, 1, 255], True),
        ([0, 1, 2], False),
        ([*range(255), 255], False),
        ([*range(200), 255], True),
        ([7, 7], False),
        ([3, 20], False),  # the others are missing
        ([3, 90], True),
    ],
)
def test_a_label_far_above_all_others_is_no_class(labels, far):
    assert is_far(np.array(labels, np.uint8)) == far


def test_real_numbers_are_float32(save):
    images = np.random.default_rng(0).normal(size=(6, 5, 4, 7))
    source = arrays(save(train_images=images, test_images=IMAGES.astype(np.int16) - 500))
    assert (source.dtype, source.shape, source.channels) == (np.float32, (5, 4, 7), 7)
    assert np.array_equal(source.images, images.astype(np.float32))
    arrays.cache_clear()
    whole = arrays(save(train_images=IMAGES.astype(np.int64) - 70_000))
    assert np.array_equal(whole.images.astype(int), IMAGES.astype(int) - 70_000)


@pytest.mark.parametrize("shape", [(9, 2), (5, 4, 3, 2), (7,), (3, 16, 16)])
def test_data_are_taken_as_they_are(save, shape):
    data = np.random.default_rng(0).integers(0, 256, (6, *shape), np.uint8)
    assert arrays(save(train_data=data)).shape == shape
    assert np.array_equal(arrays(save(train_data=data)).images, data)


def test_sequences_have_lengths_or_a_mask(save):
    lengths = np.array([1, 9, 4, 5, 2, 9])
    mask = np.arange(9) < lengths[:, None]
    padded = np.where(mask[..., None], SEQUENCES, np.nan)  # which some write there
    for number, given in enumerate(({"train_lengths": lengths}, {"train_mask": mask.astype(int)})):
        arrays.cache_clear()
        source = arrays(save(train_data=padded, **given))
        assert source.masked and source.shape == (9, 2) and not source.is_images, number
        assert np.array_equal(source[2]["mask"], mask[2][:, None])
        batch = next(Loader(source, 6, Transform(space=Scaled()), shuffle=False))
        assert np.array_equal(batch["mask"], mask[..., None])
        assert np.array_equal(batch["image"], np.where(mask[..., None], SEQUENCES, 0).astype("f4"))


def test_a_folder_of_npy_files_or_one_file(tmp_path):
    np.save(tmp_path / "train.npy", IMAGES)
    np.save(tmp_path / "train_labels.npy", LABELS)
    np.save(tmp_path / "test_data.npy", SEQUENCES.astype(np.float32))
    np.save(tmp_path / "test_labels.npy", LABELS)
    options = SOURCES["npy"](str(tmp_path))
    train, test = options.read(), options.read("test")
    assert np.array_equal(train.images, IMAGES) and train.class_names == ("0", "1", "2")
    assert (test.shape, test.dtype, test.num_classes) == ((9, 2), np.float32, 3)
    one = SOURCES["npy"](str(tmp_path / "train.npy"))
    assert np.array_equal(one.read("test").images, IMAGES) and one.read().num_classes == 0
    with pytest.raises(InvalidValue, match="path: got '', expected an .npz or .npy file"):
        SOURCES["npy"]()


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
            arrays(path)
    with pytest.raises(ValueError, match="path: got .*none.npz', expected an .npz or .npy file"):
        arrays(tmp_path / "none.npz")


def test_a_config_names_its_own_fields(save):
    path = save(train_images=IMAGES, train_labels=LABELS, class_names=NAMES)
    data = {"source": {"name": "npz", "path": str(path)}, "num_channels": 3, "image_size": ()}

    def opened(classes=3, **changes):
        given = {"data": data | changes, "conditions": {"labels": {"num_classes": classes}}}
        return kinds.experiment(kinds.complete(given))

    assert np.array_equal(opened().train_source.images, IMAGES)
    assert opened().shape == IMAGES.shape[1:]
    with pytest.raises(InvalidValue, match="^data.eval_split: got 'test', expected one of"):
        opened().held_out  # noqa: B018
    with pytest.raises(InvalidValue, match="^data.num_channels: got 1, but mine/train has 3"):
        opened(num_channels=1, image_size=(4, 4)).train_source  # noqa: B018
    with pytest.raises(InvalidValue, match="^conditions.labels.num_classes: got 4, but mine/train"):
        opened(classes=4).train_source  # noqa: B018
    nowhere = {"name": "folder", "path": "/nowhere"}
    with pytest.raises(UserError, match="^data.source.path: got '/nowhere', expected a folder"):
        opened(source=nowhere, image_size=(4, 4)).train_source  # noqa: B018
