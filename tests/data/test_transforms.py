import numpy as np
import pytest
from scipy.stats import kstest

from data import CENTERED, UNIT, ArraySource, Augment, Transform, digits
from data.transforms import resize


def records(images):
    return {"image": images, "label": np.arange(len(images), dtype=np.int32)}


def random_images(count=40, height=6, width=6, channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, channels), np.uint8)


@pytest.mark.parametrize("value_range", [UNIT, CENTERED])
def test_without_options_levels_are_only_scaled(value_range):
    images = random_images()
    batch = Transform(value_range=value_range)(records(images), range(40), 0)
    assert batch["image"].dtype == np.float32 and set(batch) == {"image", "label"}
    assert np.array_equal(batch["image"], value_range.from_uint8(images))


def test_dequantisation_is_uniform_within_each_level():
    images = random_images(400)
    batch = Transform(dequantize=True, value_range=CENTERED)(records(images), range(400), 0)
    u = 128 * (batch["image"].astype(np.float64) + 1) - images
    assert -1e-4 < u.min() and u.max() < 1 + 1e-4
    assert kstest(u.ravel(), "uniform").pvalue > 1e-3


def test_half_of_the_images_are_mirrored_left_right():
    images = random_images(400)
    out = Transform(flip=True)(records(images), range(400), 0)["image"] * 255
    same = np.array([np.allclose(a, b) for a, b in zip(out, images, strict=True)])
    mirrored = np.array([np.allclose(a, b[:, ::-1]) for a, b in zip(out, images, strict=True)])
    assert np.all(same ^ mirrored)
    assert 0.4 < mirrored.mean() < 0.6


def test_the_images_of_the_source_are_left_alone():
    source = digits("test")
    before = source.images[:8].copy()
    transform = Transform(flip=True, dequantize=True, value_range=CENTERED)
    transform({"image": source.images[:8], "label": source.labels[:8]}, range(8), 0)
    assert np.array_equal(source.images[:8], before)


@pytest.mark.parametrize(
    "transform",
    [
        Transform(flip=True, dequantize=True),
        Transform(image_size=4, crop="random"),
        Transform(dequantize=True, augment=Augment(0.5)),
    ],
)
def test_every_choice_belongs_to_the_position(transform):
    images = random_images(16, 6, 9)
    whole = transform(records(images), range(100, 116), 5)
    part = transform(records(images[4:9]), range(104, 109), 5)
    for name in set(whole) - {"label"}:
        assert np.array_equal(part[name], whole[name][4:9])
    other = transform(records(images), range(100, 116), 6)
    assert not np.array_equal(other["image"], whole["image"])


def test_augmentation_adds_its_conditioning():
    batch = Transform(augment=Augment())(records(random_images()), range(40), 0)
    assert batch["augment"].shape == (40, 9)
    assert batch["image"].dtype == np.float32


def test_evaluation_has_no_random_geometry():
    transform = Transform(image_size=4, crop="random", flip=True, dequantize=True)
    assert transform.for_evaluation() == Transform(image_size=4, crop="center", dequantize=True)
    augmented = Transform(crop="none", augment=Augment())
    assert augmented.for_evaluation() == Transform(crop="none")


def test_resizing_is_antialiased():
    checks = np.indices((64, 64)).sum(0)[..., None] % 2 * np.uint8(255)
    small = resize(checks.astype(np.uint8), 8)
    # Far from the border all is grey; sampling without a filter gives black or white.
    assert np.abs(small[1:-1, 1:-1].astype(int) - 127).max() <= 2


def test_the_box_filter_takes_means_over_squares():
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    means = image.reshape(4, 3, 4, 3, 3).mean((1, 3))
    # Rows and columns are rounded one after the other.
    assert np.abs(resize(image, 4, by="box") - means).max() <= 1
    with pytest.raises(ValueError, match="resize: got 'nearest'"):
        Transform(resize="nearest")


def test_a_constant_stays_constant_at_any_size():
    image = np.full((7, 13, 3), (10, 100, 250), np.uint8)
    for size in (3, 7, 20):
        assert np.all(resize(image, size) == image[0, 0])


def test_square_crops_are_cut_out_exactly():
    image = random_images(1, 4, 9)[0]
    assert np.array_equal(resize(image, 4, at=0.5), image[:, 3:7])
    assert np.array_equal(resize(image, 4, at=0.0), image[:, :4])
    assert np.array_equal(resize(image, 4, at=0.999), image[:, 5:])
    tall = image.transpose(1, 0, 2)
    assert np.array_equal(resize(tall, 4, at=0.0), tall[:4])


def test_a_ramp_keeps_its_place():
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, 0)
    half = resize(ramp, 32)[16, 4:-4, 0].astype(float)
    expected = ramp[0].reshape(32, 2).mean(1)[4:-4]
    assert np.abs(half - expected).max() <= 1


def test_random_crops_reach_both_ends():
    images = random_images(200, 4, 6)
    out = Transform(image_size=4, crop="random")(records(images), range(200), 0)["image"] * 255
    places = [
        next(k for k in range(3) if np.allclose(a, b[:, k : k + 4]))
        for a, b in zip(out, images, strict=True)
    ]
    assert np.bincount(places).min() > 40


def test_no_crop_keeps_the_whole_image():
    image = np.zeros((8, 16, 1), np.uint8)
    image[:, :8] = 200
    squeezed = resize(image, 8, square=False)[4, :, 0]
    assert squeezed[0] == 200 and squeezed[-1] == 0


def test_lists_of_images_of_different_sizes_become_a_batch():
    images = [random_images(1, 5 + i, 9 - i)[0] for i in range(4)]
    assert Transform(image_size=4)(records(images), range(4), 0)["image"].shape == (4, 4, 4, 3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"image_size": 0}, "image_size: got 0"),
        ({"crop": "middle"}, "crop: got 'middle', expected one of center, random, none"),
        ({"flip": True, "augment": Augment()}, "flip: got True together with augment"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        Transform(**options)


def test_images_of_different_sizes_need_a_size():
    source = ArraySource("array", random_images(2), np.zeros(2, int))
    Transform().check(source)
    source.image_shape = None
    with pytest.raises(ValueError, match="image_size: got None, expected a size"):
        Transform().check(source)
