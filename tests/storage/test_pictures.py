"""Grids of images and files that are written whole."""

import numpy as np
import pytest
from PIL import Image

from options.errors import InvalidValue
from storage import pictures


def test_images_stand_row_by_row_in_a_grid():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 2, 3, 1), np.uint8)
    grid = pictures.grid(images, 3, padding=1, background=99)
    assert grid.shape == (2 * 3 + 1, 3 * 4 + 1, 1)
    np.testing.assert_array_equal(grid[1:3, 1:4, 0], 0)
    np.testing.assert_array_equal(grid[4:6, 5:8, 0], 4)
    np.testing.assert_array_equal(grid[4:6, 9:12, 0], 99)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="images"):
        pictures.grid(np.zeros((0, 2, 2, 1), np.uint8))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_and_npz_hold_what_was_written(tmp_path, channels):
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, channels), np.uint8)
    pictures.write_png(tmp_path / "a" / "p.png", picture)
    read = np.asarray(Image.open(tmp_path / "a" / "p.png")).reshape(picture.shape)
    np.testing.assert_array_equal(read, picture)
    pictures.write_npz(tmp_path / "x.npz", picture=picture)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["picture"], picture)


def test_images_of_any_proportions_and_transparency():
    wide = np.full((3, 2, 9, 4), 7, np.uint8)
    grid = pictures.grid(wide, 1, padding=1, background=99)
    assert grid.shape == (3 * 3 + 1, 11, 4)
    assert grid[0, 0].tolist() == [99, 99, 99, 255] and grid[1, 1].tolist() == [7] * 4


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 4, 5, 2), np.uint8), ((2, 9, 5), np.uint8), ((2, 4, 5, 3), np.float32), ((2, 7), float)],
)
def test_what_cannot_be_a_png_is_refused_in_a_sentence(tmp_path, shape, dtype):
    images, said = np.zeros(shape, dtype), r"images: got .*, expected uint8 \(height, width, chan"
    with pytest.raises(InvalidValue, match=said):
        pictures.grid(images)
    with pytest.raises(InvalidValue, match=said):
        pictures.write_png(tmp_path / "x.png", images[0])
    assert not list(tmp_path.iterdir())


def test_enlarging_repeats_pixels():
    picture = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    np.testing.assert_array_equal(pictures.enlarge(picture, 2)[::2, ::2], picture)
