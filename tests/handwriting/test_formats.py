"""Drawings in files: what is written is read again, or is where it should be."""

import io
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from handwriting_sketches import line
from PIL import Image

from handwriting import raster
from handwriting.drawing import Drawing, Look, Span
from handwriting.formats import FORMATS, write
from handwriting.inkml import read_inkml
from handwriting.json_strokes import read_json
from handwriting.page import Layout, page
from options.errors import InvalidValue

SVG = "{http://www.w3.org/2000/svg}"
TEXT = 'a < b & "c"\nn'
STROKES = (
    np.array([[10, 10], [20.12345, 15], [30, 10]]),
    np.array([[40.0, 20.0]]),
    np.array([[5, 25], [45, 25]]),
)
DRAWING = Drawing(STROKES, 50.0, 30.0, TEXT, "anna <1>")
STRAIGHT = Look(smooth=False)


def written(tmp_path, name, drawing=DRAWING, look=STRAIGHT):
    write(tmp_path / name, drawing, look)
    return tmp_path / name


@pytest.mark.parametrize(("name", "reader"), [("a.inkml", read_inkml), ("a.json", read_json)])
def test_strokes_are_read_as_they_were_written(tmp_path, name, reader):
    found = reader(written(tmp_path, name))
    assert not found.left_out
    (ink,) = found.lines
    assert (ink.text, ink.writer) == (TEXT, "anna <1>")
    for got, wanted in zip(ink.strokes, STROKES, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_a_page_is_read_again_too(tmp_path):
    drawing = page([line("nhn np"), line("pp E")], Layout(seed=2))
    for name, reader in (("a.inkml", read_inkml), ("a.json", read_json)):
        (ink,) = reader(written(tmp_path, name, drawing)).lines
        for got, wanted in zip(ink.strokes, drawing.strokes, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_json_says_which_points_write_which_character(tmp_path):
    spans = (Span("a", 0, 3), Span(" ", 3, 3), Span("ü", 3, 6))
    path = written(tmp_path, "a.json", Drawing(STROKES, 50, 30, "a ü", spans=spans))
    found = json.loads(path.read_text("utf-8"))
    assert found["spans"][2] == {"char": "ü", "start": 3, "end": 6} and "writer" not in found
    assert len(read_json(path).lines) == 1


def numbers(path):
    return np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2)


def test_svg_has_one_path_a_stroke_in_millimetres(tmp_path):
    root = ElementTree.parse(written(tmp_path, "a.SVG")).getroot()
    assert (root.get("width"), root.get("height")) == ("50mm", "30mm")
    assert root.get("viewBox") == "0 0 50 30"
    assert root.findtext(f"{SVG}title") == 'a < b & "c" n'
    assert root.findtext(f"{SVG}desc") == f"Written by anna <1>: {TEXT}"
    (group,) = root.findall(f"{SVG}g")
    assert (group.get("stroke-width"), group.get("stroke")) == ("0.4", "#1b2a49")
    paths = [element.get("d") for element in group]
    assert paths[2] == "M5 25L45 25" and paths[1] == "M40 20L40 20"
    np.testing.assert_allclose(numbers(paths[0]), STROKES[0], atol=5e-4)


def test_smooth_paths_are_curves_through_the_points(tmp_path):
    root = ElementTree.parse(written(tmp_path, "a.svg", look=Look())).getroot()
    curve, dot, straight = (element.get("d") for element in root.find(f"{SVG}g"))
    assert curve.count("C") == 2 and (dot, straight) == ("M40 20L40 20", "M5 25L45 25")
    np.testing.assert_allclose(numbers(curve)[::3], STROKES[0], atol=5e-4)


def test_animated_svg_writes_one_stroke_after_the_other(tmp_path):
    look = Look(smooth=False, speed=20.0, pause=0.25)
    root = ElementTree.parse(written(tmp_path, "a-animated.svg", look=look)).getroot()
    moves = [element.find(f"{SVG}animate") for element in root.find(f"{SVG}g")]
    begin, duration = ([float(m.get(name)[:-1]) for m in moves] for name in ("begin", "dur"))
    first = np.linalg.norm(np.diff(STROKES[0], axis=0), axis=1).sum() / 20
    assert duration == pytest.approx([first, 0.02, 2.0], abs=1e-3)
    assert begin == pytest.approx([0, first + 0.25, first + 0.52], abs=1e-3)
    hidden = [element.find(f"{SVG}set") for element in root.find(f"{SVG}g")]
    assert [each.get("end") for each in hidden] == [each.get("begin") for each in moves]


def test_png_has_the_ink_where_the_pen_was(tmp_path):
    look = Look(thickness=1.0, colour="#ff0000", smooth=False, pixels=500)  # 10 pixels a mm
    picture = np.asarray(Image.open(written(tmp_path, "a.png", look=look)))
    assert picture.shape == (300, 500, 3)
    assert (picture[250, 60:440] == [255, 0, 0]).all() and (picture[240] == 255).all()
    ink = (255 - picture[..., 1]) / 255
    assert ink[:, 250].sum() == pytest.approx(10 * np.hypot(1, 5 / 9.88) + 10, abs=1)
    dot = ink[190:210, 390:410].sum()
    assert dot == pytest.approx(np.pi * 5**2, rel=0.04)
    rows, columns = np.nonzero(ink[190:210, 390:410])
    assert rows.mean() == pytest.approx(9.5, abs=0.3) == pytest.approx(columns.mean(), abs=0.3)
    assert 0 < np.count_nonzero((ink > 0) & (ink < 1))  # smooth edges


def test_gif_is_written_stroke_by_stroke_and_holds_the_end(tmp_path):
    look = Look(smooth=False, gif_pixels=200, speed=20.0, frames=12, hold=1.5)
    with Image.open(written(tmp_path, "a.gif", look=look)) as animation:
        ink, durations = [], []
        for number in range(animation.n_frames):
            animation.seek(number)
            durations.append(animation.info["duration"])
            ink.append(255 - np.asarray(animation.convert("L"), float))
    assert len(ink) <= 12 and durations[-1] >= 1500
    sums = [frame.sum() for frame in ink]
    assert sums == sorted(sums) and sums[0] < 0.2 * sums[-1]
    assert sum(durations[:-1]) == pytest.approx(1000 * 3.4, rel=0.15)
    last = raster.coverage(DRAWING, Look(smooth=False, pixels=200)) / 255 * ink[-1].max()
    assert np.abs(ink[-1] - last).mean() < 0.5


def test_without_strokes_there_is_an_empty_sheet(tmp_path):
    for ending in FORMATS:
        assert written(tmp_path, f"a{ending}", Drawing((), 20, 10)).stat().st_size > 0
    assert (np.asarray(Image.open(tmp_path / "a.png")) == 255).all()


def test_an_unknown_ending_lists_the_known_and_writes_nothing(tmp_path):
    with pytest.raises(InvalidValue, match=r"path: got '.*a.pdf', expected .*'.gif', '.inkml'"):
        write(tmp_path / "a.pdf", DRAWING)
    with pytest.raises(InvalidValue, match="pixels: got 32768 x 32768 pixels"):
        write(tmp_path / "a.png", Drawing(STROKES, 50, 50), Look(pixels=2**15))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0.0}, "width: got 0.0"),
        ({"height": np.nan}, "height: got nan"),
        ({"strokes": (np.zeros((0, 2)),)}, "strokes: got a stroke without points"),
        ({"strokes": (np.array([[np.inf, 0]]),)}, "strokes: got"),
        ({"text": "a\x00"}, r"text: got '\\x00', expected characters that can be printed"),
        ({"writer": "\ud800"}, "writer: got"),
        ({"spans": (Span("a", 0, 7),)}, "spans: got Span.*, expected a span of the 6 points"),
    ],
)
def test_what_is_no_drawing_is_refused(fields, message):
    given = {"strokes": STROKES, "width": 50.0, "height": 30.0}
    with pytest.raises(InvalidValue, match=message):
        Drawing(**given | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colour": "ink"}, "colour: got 'ink', expected a name, or #rrggbb"),
        ({"thickness": 0.0}, "thickness: got 0.0"),
        ({"pixels": 0}, "pixels: got 0, expected at least 1"),
        ({"frames": 0}, "frames: got 0, expected at least 1"),
        ({"speed": 0.0}, "speed: got 0.0"),
        ({"pause": -0.1}, "pause: got -0.1"),
    ],
)
def test_what_is_no_look_is_refused(fields, message):
    with pytest.raises(InvalidValue, match=message):
        Look(**fields)


def test_a_gif_is_whole_in_memory_first():
    assert Image.open(io.BytesIO(raster.gif(DRAWING, STRAIGHT))).format == "GIF"
