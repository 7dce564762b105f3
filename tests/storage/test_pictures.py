"""Grids of images and files that are written whole."""

import numpy as np
import pytest
from PIL import Image

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


@pytest.mark.parametrize("channels", [1, 3])
def test_png_and_npz_hold_what_was_written(tmp_path, channels):
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, channels), np.uint8)
    pictures.write_png(tmp_path / "a" / "p.png", picture)
    read = np.asarray(Image.open(tmp_path / "a" / "p.png")).reshape(picture.shape)
    np.testing.assert_array_equal(read, picture)
    pictures.write_npz(tmp_path / "x.npz", picture=picture)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["picture"], picture)


def test_enlarging_repeats_pixels():
    picture = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    np.testing.assert_array_equal(pictures.enlarge(picture, 2)[::2, ::2], picture)
