"""Synthetic photographs of rendered writing: what was done to them is undone."""

import numpy as np
import pytest
from PIL import Image

from data.strokes import Strokes
from handwriting.drawing import Look
from handwriting.page import page
from handwriting.photo import HEIGHT, binarised, cropped, ink_of, skew, style_picture
from handwriting.raster import coverage
from options.errors import InvalidValue
from tools.handwriting_sections.photographs import LAYOUT, photographed

SOURCE = Strokes().read("test")
LONG = [k for k in range(len(SOURCE)) if len(SOURCE.texts[k]) > 22][:4]


def rendered(index, pixels=900):
    """(height, width), 0 to 255 of ink."""
    return coverage(page([SOURCE.line(index)], LAYOUT), Look(thickness=0.7, pixels=pixels))


def saved(tmp_path, array, name="photo.png"):
    Image.fromarray(array).save(tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("index", LONG)
def test_a_rotation_is_found(tmp_path, index):
    ink = rendered(index)
    own = skew(ink > 127)
    assert abs(own) < 1.5  # the hand's own baseline climbs a little
    for angle in (-8.0, 1.3):
        found = ink_of(saved(tmp_path, photographed(ink, angle))).angle
        assert found == pytest.approx(own - angle, abs=0.5)


@pytest.mark.parametrize("index", LONG[:2])
def test_uneven_light_leaves_the_ink_and_nothing_else(index):
    ink = rendered(index)
    found = binarised(photographed(ink))
    assert not (found & (ink == 0))[2:-2].any() or (found & (ink == 0)).sum() < 0.03 * found.sum()
    assert (found & (ink > 200)).sum() > 0.95 * (ink > 200).sum()


def box(ink):
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return np.array([rows[0], rows[-1], columns[0], columns[-1]])


@pytest.mark.parametrize("index", LONG[:2])
def test_the_crop_is_that_of_the_ink(index):
    ink = rendered(index)
    assert np.abs(box(binarised(photographed(ink))) - box(ink > 127)).max() <= 2
    assert cropped(ink > 127).shape == tuple(np.diff(box(ink > 127).reshape(2, 2))[:, 0] + 1)


def test_the_picture_is_the_line_on_white(tmp_path):
    ink = rendered(LONG[0])
    picture = style_picture(saved(tmp_path, photographed(ink, 3.0)), 2000)
    assert picture.shape == (HEIGHT, 2000) and picture.dtype == np.uint8
    columns = np.flatnonzero((picture < 128).any(0))
    assert columns[0] <= 2 and (picture[:, columns[-1] + 3 :] == 255).all()
    assert (picture[:3] < 200).any() and (picture[-3:] < 200).any()
    low, high, left, right = box(ink > 127)
    assert columns[-1] / HEIGHT == pytest.approx((right - left) / (high - low), rel=0.08)
    straight = style_picture(saved(tmp_path, photographed(ink, 0.0)), 2000)
    assert abs(float(straight.mean()) - float(picture.mean())) < 4


def test_a_long_line_is_cut_at_the_right(tmp_path):
    photo = saved(tmp_path, photographed(rendered(LONG[0])))
    np.testing.assert_array_equal(style_picture(photo, 100), style_picture(photo, 1400)[:, :100])


def test_a_large_photograph_gives_the_same_picture(tmp_path):
    ink = rendered(LONG[1])
    large = Image.fromarray(photographed(ink, 2.0)).resize((3000, 1050))
    small = large.resize((1000, 350), Image.Resampling.BOX)
    pictures = []
    for name, image in (("large.jpg", large), ("small.png", small)):
        image.save(tmp_path / name)
        pictures.append(style_picture(tmp_path / name, 1200).astype(float))
    assert np.abs(pictures[0].mean() - pictures[1].mean()) < 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: np.full((200, 600), 240, np.uint8), "without ink, expected a line of handwriting"),
        (
            lambda: np.random.default_rng(0).normal(200, 5, (200, 600)).astype(np.uint8),
            "without ink",
        ),
        (lambda: np.zeros((200, 600), np.uint8), "without ink"),
        (lambda: np.zeros((10, 600), np.uint8), "of 600 x 10 pixels, expected at least 24"),
        (lambda: np.zeros((1, 1), np.uint8), "of 1 x 1 pixels"),
    ],
)
def test_a_blank_or_tiny_picture_is_refused(tmp_path, make, message):
    with pytest.raises(InvalidValue, match=f"^picture: got .*photo.png {message}"):
        style_picture(saved(tmp_path, make()), 500)


def test_what_is_no_image_or_huge_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 no image")
    with pytest.raises(InvalidValue, match="picture: got .*a.jpg, .*expected an image"):
        style_picture(tmp_path / "a.jpg", 500)
    with pytest.raises(InvalidValue, match="picture: got .*none.png.*expected an image"):
        style_picture(tmp_path / "none.png", 500)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InvalidValue, match="picture: got .*photo.png, .*expected an image"):
        style_picture(saved(tmp_path, np.zeros((100, 100), np.uint8)), 500)
    with pytest.raises(InvalidValue, match="width: got 0"):
        style_picture(tmp_path / "a.jpg", 0)
