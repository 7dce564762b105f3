import numpy as np
import pytest
from scipy.stats import kstest

from data import CENTERED, UNIT, ArraySource, Augment, Loader, Scaled, Transform, digits
from data.transforms import resize
from options.errors import InvalidValue


def records(images):
    return {"image": images, "label": np.arange(len(images), dtype=np.int32)}


def random_images(count=40, height=6, width=6, channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, channels), np.uint8)


@pytest.mark.parametrize("space", [UNIT, CENTERED])
def test_without_options_levels_are_only_scaled(space):
    images = random_images()
    batch = Transform(space=space)(records(images), range(40), 0)
    assert batch["image"].dtype == np.float32 and set(batch) == {"image", "label"}
    assert np.array_equal(batch["image"], space.from_uint8(images))


def test_dequantisation_is_uniform_within_each_level():
    images = random_images(400)
    batch = Transform(dequantize=True, space=CENTERED)(records(images), range(400), 0)
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
    transform = Transform(flip=True, dequantize=True, space=CENTERED)
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
    squeezed = resize(image, 8, cut=False)[4, :, 0]
    assert squeezed[0] == 200 and squeezed[-1] == 0


def test_lists_of_images_of_different_sizes_become_a_batch():
    images = [random_images(1, 5 + i, 9 - i)[0] for i in range(4)]
    assert Transform(image_size=4)(records(images), range(4), 0)["image"].shape == (4, 4, 4, 3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"image_size": 0}, "image_size: got 0"),
        ({"image_size": (4, 0)}, r"image_size: got \(4, 0\)"),
        ({"image_size": (4, 4, 3)}, r"image_size: got \(4, 4, 3\), expected one number or"),
        (
            {"dequantize": True, "space": Scaled()},
            "dequantize: got True, but Scaled.*no grey levels",
        ),
        ({"crop": "middle"}, "crop: got 'middle', expected one of "),
        ({"flip": True, "augment": Augment()}, "flip: got True, but augment"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        Transform(**options)


def test_images_of_different_sizes_need_a_size():
    source = ArraySource("array", random_images(2), np.zeros(2, int))
    Transform().check(source)
    source.shape = None
    with pytest.raises(ValueError, match="image_size: got None, expected a size"):
        Transform().check(source)


@pytest.mark.parametrize(
    ("of", "target", "part"),
    [
        ((16, 32), (16, 16), np.s_[:, 8:24]),
        ((16, 32), (8, 16), np.s_[:, :]),
        ((32, 16), (8, 8), np.s_[8:24]),
        ((12, 40), (8, 16), np.s_[:, 8:32]),
        ((40, 12), (8, 16), np.s_[17:23]),
    ],
)
def test_a_crop_is_the_largest_part_of_the_aspect(of, target, part):
    image = random_images(1, *of)[0]
    expected = resize(image[part], target, cut=False)
    assert expected.shape == (*target, 3)
    assert np.array_equal(resize(image, target), expected)
    batch = Transform(image_size=target)(records(image[None]), range(1), 0)
    assert np.array_equal(np.rint(255 * batch["image"][0]), expected)


def test_a_crop_that_loses_something_is_said_once(caplog):
    source = ArraySource("wide", random_images(4, 16, 32), np.zeros(4, int))
    for size, crop in ((None, "center"), (16, "none"), ((8, 16), "center"), ((16, 32), "random")):
        Loader(source, 2, Transform(image_size=size, crop=crop))
    assert not caplog.records
    loader = Loader(source, 2, Transform(image_size=16))
    for _ in range(3):
        assert next(loader)["image"].shape == (2, 16, 16, 3)
    (record,) = caplog.records
    assert record.getMessage() == (
        "wide: images of 16 x 32 are cropped to 16 x 16, the proportions of 16 x 16 "
        "(data.crop='center')"
    )


def test_float_images_are_resized_flipped_and_scaled():
    images = np.random.default_rng(0).normal(5, 3, (40, 8, 12, 5)).astype(np.float32)
    source = ArraySource("fields", images, np.zeros(40, int))
    transform = Transform((4, 6), flip=True, space=Scaled((5.0,), (3.0,)), resize="box")
    transform.check(source)
    assert transform.shape(source) == (4, 6, 5)
    x = transform(source.take(np.arange(40)), range(40), 0)["image"]
    means = (images.reshape(40, 4, 2, 6, 2, 5).mean((2, 4)) - 5) / 3
    mirrored = np.array(
        [np.allclose(a, b[:, ::-1], atol=1e-5) for a, b in zip(x, means, strict=True)]
    )
    same = np.array([np.allclose(a, b, atol=1e-5) for a, b in zip(x, means, strict=True)])
    assert np.all(same ^ mirrored) and 10 < mirrored.sum() < 30


def sequences():
    rng = np.random.default_rng(0)
    values = rng.normal(2, 1, (6, 9, 2)).astype(np.float32)
    mask = np.arange(9)[:, None] < rng.integers(3, 10, (6, 1, 1))
    return ArraySource("strokes", values, np.zeros(6, int), mask=mask)


def test_padding_is_zero_in_states():
    source, space = sequences(), Scaled((2.0,), (0.5,))
    batch = next(Loader(source, 6, Transform(space=space), shuffle=False))
    assert batch["mask"].shape == (6, 9, 1) and batch["mask"].dtype == bool
    assert np.array_equal(batch["image"], space.encode(source.images) * source.mask)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"image_size": 4}, r"image_size: got 4, but examples of strokes are \(9, 2\), not images"),
        ({"flip": True}, "flip: got True, but examples of strokes"),
        ({"augment": Augment()}, "augment: got .*not images"),
        ({"space": UNIT}, "space: got .*strokes is of float32"),
    ],
)
def test_what_belongs_to_images_is_refused_for_others(options, match):
    with pytest.raises(InvalidValue, match=match):
        Transform(**{"space": Scaled()} | options).check(sequences())


def test_augmentation_is_of_8_bit_pixels():
    source = ArraySource("fields", np.zeros((4, 8, 8, 1), np.float32), np.zeros(4, int))
    with pytest.raises(InvalidValue, match="augment: .*fields is of float32 values"):
        Transform(augment=Augment(), space=Scaled()).check(source)


@pytest.mark.parametrize(
    "size, crop, said",
    [
        ((60, 45), "center", "cropped to 45 x 45 and resized to 28 x 28"),
        ((56, 56), "random", "resized to 28 x 28"),
        ((28, 40), "center", "cropped to 28 x 28"),
        ((60, 45), "none", "resized to 28 x 28"),
    ],
)
def test_what_is_done_to_an_image_is_said(size, crop, said):
    assert Transform(image_size=28, crop=crop).said_of_resizing(size) == said
