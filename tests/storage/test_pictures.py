"""Grids of images and files that are written whole."""

import sys

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


# Pictures as they are shown.


@pytest.mark.parametrize(
    ("size", "rows", "columns", "factor"),
    [
        ((8, 8), 10, 10, 7),  # 560 px
        ((8, 8), 1, 1, 64),
        ((8, 8), 64, 64, 4),  # an image has 32 px, however many there are
        ((28, 28), 10, 10, 2),
        ((28, 28), 1, 6, 19),
        ((28, 28), 4, 6, 5),
        ((48, 64), 8, 8, 2),
        ((64, 64), 8, 8, 1),
        ((256, 256), 2, 2, 1),
        ((256, 256), 1, 4, 2),
        ((1024, 1024), 8, 8, 1),
        ((32, 32), 1, 64, 2),  # which would be too long
        ((32, 32), 1, 500, 1),
    ],
)
def test_pictures_are_enlarged_to_512_pixels_by_whole_factors(size, rows, columns, factor):
    assert pictures.factor_for(*size, rows, columns) == factor
    images = np.zeros((rows, columns, *size, 1), np.uint8)
    if images.size < 2**21:
        height, width, _ = pictures.drawn(pictures.Panel(images)).shape
        assert height == rows * (size[0] * factor + pictures.GAP) + pictures.GAP
        assert width == columns * (size[1] * factor + pictures.GAP) + pictures.GAP


def cell(picture, row, column, side, left=0, top=0):
    """The pixels of one image of a picture, of so many pixels a side."""
    y, x = (pictures.GAP + i * (side + pictures.GAP) for i in (row, column))
    return picture[top + y : top + y + side, left + x : left + x + side]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_pixel_is_shown_as_a_square(channels):
    images = np.random.default_rng(0).integers(0, 256, (2, 2, 8, 8, channels), np.uint8)
    picture = pictures.drawn(pictures.Panel(images))
    shown = cell(picture, 1, 0, 256)
    np.testing.assert_array_equal(shown[::32, ::32], images[1, 0])
    np.testing.assert_array_equal(shown[31::32, 31::32], images[1, 0])
    assert (picture[: pictures.GAP, :, : min(3, channels)] == pictures.BACKGROUND).all()


def test_what_is_hidden_is_hatched_and_unlike_the_gaps():
    images = np.full((1, 2, 8, 8, 3), 255, np.uint8)
    hidden = np.zeros((1, 2, 8, 8), bool)
    hidden[0, 1, :, 4:] = True
    picture = pictures.drawn(pictures.Panel(images, hidden=hidden))
    side = 8 * pictures.factor_for(8, 8, 1, 2)
    assert (cell(picture, 0, 0, side) == 255).all()
    known, hatched = np.split(cell(picture, 0, 1, side), 2, axis=1)
    assert (known == 255).all()
    assert set(np.unique(hatched)) == set(pictures.HATCH)
    assert pictures.BACKGROUND not in pictures.HATCH
    # Stripes: as many pixels of the one as of the other, wherever one looks.
    assert abs((hatched[40:72, 40:72] == pictures.HATCH[0]).mean() - 0.5) < 0.01
    # The image itself is as it was.
    assert (images == 255).all()


def test_a_frame_stands_around_its_image_alone():
    images = np.full((1, 2, 128, 128, 3), 255, np.uint8)
    plain = pictures.drawn(pictures.Panel(images))
    picture = pictures.drawn(pictures.Panel(images, framed=np.array([[False, True]])))
    side = (plain.shape[0] - 2 * 4, plain.shape[0] - 2 * 4 + 2 * 2)  # of the image, of the frame
    y, x = np.nonzero((picture != plain).any(-1))
    assert (picture[y, x] == 0).all() and len(y) == side[1] ** 2 - side[0] ** 2
    assert x.min() == 4 + side[0] + 4 - 2 and y.min() == 4 - 2


def test_without_matplotlib_there_are_letters_all_the_same(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    letters = pictures._font.__wrapped__(20)
    assert letters.getlength("image") > letters.getlength("i") > 0


def test_titles_stand_above_columns_and_names_beside_rows():
    images = np.full((2, 3, 28, 28, 1), 255, np.uint8)
    plain = pictures.drawn(pictures.Panel(images))
    made = pictures.drawn(pictures.Panel(images, ["image", "known", ""], ["cat", ""]))
    top, left = (a - b for a, b in zip(made.shape[:2], plain.shape[:2], strict=True))
    assert top > pictures.TEXT and left > pictures.TEXT
    side = 28 * pictures.factor_for(28, 28, 2, 3)
    for row, column in np.ndindex(2, 3):  # nothing is written on the images
        assert (cell(made, row, column, side, left, top) == 255).all()
    written = made[..., 0] < pictures.BACKGROUND // 2
    above = [written[:top, left + i * (side + 4) : left + (i + 1) * (side + 4)] for i in range(3)]
    assert above[0].any() and above[1].any() and not above[2].any()
    beside = written[top : top + side, :left], written[top + side + 4 :, :left]
    assert beside[0].any() and not beside[1].any()


def test_long_titles_and_names_are_made_to_fit():
    images = np.full((1, 2, 8, 8, 3), 255, np.uint8)
    wide = pictures.drawn(pictures.Panel(images, ["a" * 300, "b"], ["n" * 300]))
    short = pictures.drawn(pictures.Panel(images, ["a", "b"], ["n"]))
    assert wide.shape[1] - short.shape[1] < pictures.LONGEST_NAME * pictures.TEXT * 2
    assert wide.shape[0] == short.shape[0]


def coloured(labels):
    """An image of one grey for each label."""
    grey = 20 * np.array(labels, np.uint8) + 10
    return np.broadcast_to(grey[:, None, None, None], (len(grey), 8, 8, 1))


def test_classes_have_a_row_each_with_their_names():
    labels = np.array([2, 0, 1, 2, 0, 1, 2])
    (panel,) = pictures.by_class(coloured(labels), labels, ("cat", "dog", "Größe"))
    assert panel.names == ["cat", "dog", "Größe"]
    np.testing.assert_array_equal(panel.filled, [[1, 1, 0], [1, 1, 0], [1, 1, 1]])
    shown = np.where(panel.filled, panel.images[..., 0, 0, 0].astype(int) // 20, -1)
    np.testing.assert_array_equal(shown, [[0, 0, -1], [1, 1, -1], [2, 2, 2]])
    picture = pictures.drawn(panel)
    assert (picture[5:60, -60:-5] == pictures.BACKGROUND).all()  # an empty cell


def test_many_images_of_a_class_have_several_rows_and_many_classes_stand_side_by_side():
    (one,) = pictures.by_class(coloured([3] * 16), np.full(16, 3))
    assert one.images.shape[:2] == (4, 4) and one.names == ["class 3", "", "", ""]
    # Where one class has somewhat more than others, as in the shares of data, it has one row too.
    shares = np.repeat([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 11, 10, 10, 10, 9, 10, 11, 9, 10])
    (panel,) = pictures.by_class(coloured(shares), shares)
    assert panel.images.shape[:2] == (10, 11)
    # Sixteen of each of three are as equal rows as there are: 6, 6 and 4, not 7, 7 and 2.
    labels = np.arange(48) % 3
    (panel,) = pictures.by_class(coloured(labels), labels)
    assert panel.filled is not None and panel.filled.sum(1).tolist() == 3 * [6, 6, 4]
    labels = np.arange(64)
    many = pictures.by_class(coloured(labels % 12), labels)
    assert [panel.images.shape[:2] for panel in many] == 8 * [(8, 1)]
    assert many[1].names[0] == "class 8"
    height, width, _ = pictures.drawn(*many).shape
    assert 512 < height < width < 3 * height


def test_images_without_classes_stand_in_a_square():
    (panel,) = pictures.by_class(coloured([1] * 10), np.full(10, -1))
    assert panel.images.shape[:2] == (3, 4) and not panel.names and panel.filled.sum() == 10


def test_some_rows_of_a_panel():
    images, hidden = np.zeros((3, 2, 4, 4, 1), np.uint8), np.zeros((3, 2, 4, 4), bool)
    part = pictures.Panel(images, ["a", "b"], ["x", "y", "z"], hidden).first(2)
    assert part.images.shape[:2] == (2, 2) and part.names == ["x", "y"] and len(part.hidden) == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_an_animation_has_its_frames_and_times(tmp_path, channels):
    frames = np.zeros((3, 8, 6, channels), np.uint8)
    frames[1], frames[2] = 128, 255
    pictures.write_gif(tmp_path / "a.gif", frames, seconds=0.2, last=1.5)
    with Image.open(tmp_path / "a.gif") as file:
        assert file.n_frames == 3 and file.size == (6, 8) and file.info["loop"] == 0
        for frame, level, time in zip(range(3), (0, 128, 255), (200, 200, 1500), strict=True):
            file.seek(frame)
            assert abs(np.asarray(file.convert("L")).astype(int) - level).max() <= 1
            assert file.info["duration"] == time


@pytest.mark.parametrize("shape", [(0, 8, 8, 1), (2, 8, 8, 4), (8, 8, 1)])
def test_what_cannot_be_an_animation_is_refused(tmp_path, shape):
    with pytest.raises(InvalidValue, match="images: got|frames: got none"):
        pictures.write_gif(tmp_path / "a.gif", np.zeros(shape, np.uint8))
    assert not (tmp_path / "a.gif").exists()
