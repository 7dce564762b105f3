"""Masks of images: what they hide, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from controllable import masks
from experiment import kinds
from options.errors import InvalidValue

FRACTIONS = {
    "box": 0.25, "rectangle": 0.25 * 0.75, "half": 0.5, "circle": np.pi * 0.09, "patches": 0.5,
    "pixels": 0.75, "together": 1 - (1 - 0.25**2) * 0.75,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in masks.MASKS if name != "drawn"])
def test_masks_hide_about_what_they_say_at_every_size(name):
    for shape in ((28, 28), (24, 40)):
        mask = masks.MASKS[name]()(*shape)
        assert mask.shape == shape and mask.dtype == np.float32
        assert set(np.unique(mask)) == {0.0, 1.0}
        if name in FRACTIONS and shape[0] == shape[1]:
            assert 1 - mask.mean() == pytest.approx(FRACTIONS[name], abs=0.04)


def test_a_rectangle_lies_where_it_is_put():
    mask = masks.Rectangle(top=0.25, left=0.5, height=0.5, width=0.25)(8, 16)
    hidden = np.argwhere(mask == 0)
    assert hidden.min(0).tolist() == [2, 8] and hidden.max(0).tolist() == [5, 11]
    assert np.sum(mask == 0) == 4 * 4
    assert np.sum(masks.Rectangle(0.99, 0.99, 0.01, 0.01)(8, 8) == 0) == 1


def test_random_masks_hide_exactly_as_many_pixels_as_asked_and_differ_by_their_seed():
    hidden = [masks.RandomPixels(0.3, seed)(10, 10) == 0 for seed in (0, 1)]
    assert [h.sum() for h in hidden] == [30, 30] and (hidden[0] != hidden[1]).any()
    drawn = [masks.Irregular(seed=seed)(32, 32) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_a_wider_brush_hides_more_and_a_mask_looks_alike_at_every_size():
    thin, wide = (1 - masks.Irregular(width=w)(64, 64).mean() for w in (0.05, 0.2))
    assert 0.02 < thin < wide / 1.5 < 0.6
    small, large = (1 - masks.Irregular()(side, side).mean() for side in (64, 256))
    assert small == pytest.approx(large, abs=0.04)


def test_several_masks_hide_what_any_of_them_hides():
    parts = masks.Box(0.25), masks.Half("left"), masks.RandomPixels(0.1)
    mask = masks.Together(parts[0], masks.Together(parts[1], parts[2]))(16, 16)
    hidden = [part(16, 16) == 0 for part in parts]
    np.testing.assert_array_equal(mask == 0, np.logical_or.reduce(hidden))


def test_a_mask_is_drawn_as_an_image(tmp_path):
    mask = masks.Circle()(12, 10)
    path = str(tmp_path / "mask.png")
    Image.fromarray((255 * mask).astype(np.uint8)).save(path)
    masks.Drawn(path).check()
    np.testing.assert_array_equal(masks.Drawn(path)(12, 10), mask)
    with pytest.raises(InvalidValue, match="of 12 x 10 pixels, expected 10 x 12"):
        masks.Drawn(path)(10, 12)
    Image.fromarray((120 * mask).astype(np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(InvalidValue, match="2 shades"):
        masks.Drawn(str(tmp_path / "grey.png"))(12, 10)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InvalidValue, match="path: .*text.png cannot be read as an image"):
        masks.Drawn(str(tmp_path / "text.png"))(12, 10)
    with pytest.raises(InvalidValue, match="did you mean '.*mask.png'"):
        masks.Together(masks.Box(), masks.Drawn(path.replace("mask", "mosk"))).check()


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: masks.Half("up"), "side: got 'up'"),
        (lambda: masks.Box(0.0), "fraction: got 0.0, expected a positive number"),
        (lambda: masks.Circle(1.5), r"fraction: got 1.5, expected a number in \(0, 1\]"),
        (lambda: masks.Rectangle(top=0.9), "top: got 0.9, expected at most 1 - height = 0.75"),
        (lambda: masks.RandomPixels(2.0), "fraction: got 2.0"),
        (lambda: masks.Patches(size=0), "size: got 0"),
        (lambda: masks.Irregular(strokes=0), "strokes: got 0"),
        (lambda: masks.Drawn("").check(), "path: got '', expected the path of an image"),
    ],
)
def test_bad_sizes_are_refused(make, match):
    with pytest.raises(InvalidValue, match=match):
        make()


def test_sizes_are_fields_of_a_configuration():
    asked = {
        "control.task.mask": "together",
        "control.task.mask.first": "rectangle",
        "control.task.mask.first.height": 0.5,
        "control.task.mask.second": "irregular",
        "control.task.mask.second.strokes": 2,
    }
    made = kinds.open_experiment("configs/digits/vp.py", asked).options.control.task.mask
    assert made == masks.Together(masks.Rectangle(height=0.5), masks.Irregular(strokes=2))
