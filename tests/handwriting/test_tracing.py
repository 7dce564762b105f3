import numpy as np
import pytest
from PIL import Image, ImageDraw

from handwriting.skeleton import thin
from handwriting.tracing import even, trace


def drawn(*lines, width=9, size=(120, 120)):
    """Ink along the lines, with round ends."""
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    for line in lines:
        draw.line(line, fill=1, width=width, joint="curve")
        for x, y in (line[0], line[-1]):
            draw.ellipse([x - width // 2, y - width // 2, x + width // 2, y + width // 2], fill=1)
    return np.asarray(image)


def distance(path, line):
    """How far points of a path are at most from a line of segments."""
    a, b = np.array(line[:-1], float), np.array(line[1:], float)
    along = b - a
    t = np.clip(((path[:, None] - a) * along).sum(-1) / (along**2).sum(-1), 0, 1)
    return np.linalg.norm(path[:, None] - (a + t[..., None] * along), axis=-1).min(1).max()


def test_thin_lines_are_as_connected_as_the_ink():
    ink = np.pad(drawn([(20, 20), (90, 30), (40, 90)]), 1)
    line = thin(ink)
    assert line[ink].sum() == line.sum() and 110 < line.sum() < 150
    square = line[:-1, :-1] & line[1:, :-1] & line[:-1, 1:] & line[1:, 1:]
    assert square.sum() <= 2


def test_a_line_is_traced_from_its_top_left():
    for line in ([(20, 20), (90, 90)], [(90, 20), (30, 95)], [(20, 60), (100, 60)]):
        for given in (line, line[::-1]):
            (path,) = trace(drawn(given))
            assert distance(path[6:-6], line) < 1.5
            beyond = np.linalg.norm(path[[0, -1]] - line, axis=1)  # to where the ink ends
            assert beyond.max() < 5.5 and np.ptp(path, axis=0).max() > np.ptp(line, axis=0).max()
            steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
            assert steps.max() < 1.6


def test_a_crossing_is_two_lines_that_go_straight_on():
    lines = [[(30, 20), (90, 100)], [(90, 20), (30, 100)]]
    found = trace(drawn(*lines))
    assert len(found) == 2
    for path, line in zip(found, lines, strict=True):
        assert distance(path[6:-6], line) < 2.5 and np.abs(path[[0, -1]] - line).max() < 6


def test_a_bar_is_drawn_after_what_it_crosses_and_a_dot_last():
    stem, bar, dot = [(40, 15), (40, 100)], [(10, 40), (70, 40)], [(100, 20), (101, 20)]
    found = trace(drawn(stem, bar, dot, width=10))
    assert len(found) == 3
    assert distance(found[0], stem) < 2.5 and distance(found[1], bar) < 2.5
    assert np.ptp(found[2], axis=0).max() > 3 and distance(found[2], dot) < 6


@pytest.mark.parametrize("size", [4, 5, 8, 9])
def test_dots_of_any_size_are_short_strokes(size):
    ink = np.zeros((30, 30), bool)
    ink[10 : 10 + size, 12 : 12 + size] = True
    (path,) = trace(ink)
    assert len(path) >= 2 and 0 < np.linalg.norm(path[-1] - path[0]) < 2 * size
    assert np.abs(path.mean(0) - [11.5 + size / 2, 9.5 + size / 2]).max() < 1.5


def test_a_ring_is_one_closed_line_from_the_top_to_the_left():
    image = Image.new("1", (120, 120))
    ImageDraw.Draw(image).ellipse([20, 20, 100, 100], outline=1, width=9)
    (path,) = trace(np.asarray(image))
    assert np.array_equal(path[0], path[-1])
    radius = np.linalg.norm(path - 60, axis=1)
    assert np.abs(radius - 36).max() < 2
    assert path[0, 1] < 35 and path[len(path) // 4, 0] < 45 and path[len(path) // 2, 1] > 80


def test_corners_and_rough_edges_leave_no_spurs():
    rng = np.random.default_rng(0)
    ink = np.zeros((60, 160), bool)
    ink[20:34, 10:150] = True  # square ends
    ink[19, 10:150] = rng.uniform(size=140) < 0.3
    (path,) = trace(ink)
    assert distance(path, [(10, 26.5), (150, 26.5)]) < 3 and np.ptp(path[:, 0]) > 110


def test_no_ink_is_no_stroke():
    assert trace(np.zeros((9, 9), bool)) == []


def test_even_points_keep_the_path_and_its_ends():
    path = np.array([[0.0, 0], [6, 8], [6, 8.5]])
    found = even(path, 1.0)
    assert len(found) == 12 and np.array_equal(found[[0, -1]], path[[0, -1]])
    assert distance(found, path) < 1e-9
    assert np.linalg.norm(np.diff(found, axis=0), axis=1).max() < 1
