"""Pages of ink: baselines, scale, paper that leaves no edge, refusals."""

import numpy as np
import pytest

from data.text_lines import TextLine
from handwriting.ink_medium import InkMedium
from handwriting.page import Layout
from handwriting.photo import ink_picture
from handwriting.sheet import Body, body_of, ink_of, sheet
from options.errors import InvalidValue

FLAT = Layout(0, 0, x_height=2.0, line_height=8.0, left=5, right=5, top=4, bottom=4, drift=0.0)


def line(baseline=43, paper=230, width=120, text="nnn"):
    """Letters of height 20 on a baseline, on paper of a shade that changes along the line."""
    shade = np.linspace(paper, paper - 30, width)[None]
    image = np.broadcast_to(shade, (64, width)).copy()
    for x in range(5, width - 10, 20):
        image[baseline - 20 : baseline, x : x + 4] = 30
    return TextLine(np.rint(image).astype(np.uint8), text, "me")


def test_ink_is_without_its_paper_and_has_its_body():
    ink = ink_of(line().image)
    assert not ink[:20].any() and not ink[45:].any() and ink[30, 6] > 0.8
    assert body_of(ink) == Body(23, 43)
    assert body_of(np.zeros((64, 10), np.float32)) == Body(0, 64)


def test_the_grain_of_coarse_paper_is_no_ink():
    clean = line().image
    grain = np.random.default_rng(0).normal(0, 15, clean.shape)
    ink = ink_of(np.clip(np.rint(clean + grain), 0, 255).astype(np.uint8))
    letters = clean < 100
    assert (ink[~letters] > 0).mean() < 0.01 and ink[letters].mean() > 0.6


def test_lines_stand_on_their_baselines_in_one_scale_without_edges():
    """A millimetre is 10 pixels, since letters of 20 pixels are 2 mm high."""
    page = sheet([line(43), line(43)._replace(image=np.zeros((64, 0), np.uint8)), line(50)], FLAT)
    assert page.shape == (4 * 10 + 3 * 80 + 4 * 10, 120 + 2 * 50)
    rows = np.flatnonzero((page < 128).any(axis=1))
    # Baselines at 4 + 8 and 4 + 3 * 8 mm.
    assert rows.tolist() == [*range(100, 120), *range(260, 280)]
    columns = np.flatnonzero((page < 128).any(axis=0))
    assert columns[0] == 55 and np.unique(page).max() == 255
    assert (page == 255).mean() > 0.9  # nothing is left of the paper


def test_a_line_that_is_too_wide_makes_all_smaller():
    narrow = Layout(16, 0, x_height=2.0, line_height=8.0, left=5, right=5, drift=0.0)
    page = sheet([line()], narrow)
    columns = np.flatnonzero((page < 200).any(axis=0))
    assert page.shape[1] == 160 and columns[-1] - columns[0] <= 60


def test_what_cannot_be_set_is_refused():
    nothing = InkMedium().nothing
    with pytest.raises(InvalidValue, match="lines: got nothing to write"):
        sheet([TextLine(nothing, "", "")], FLAT)
    low = Layout(0, 20, x_height=2.0, line_height=8.0, top=4, bottom=4)
    with pytest.raises(InvalidValue, match="height: got 3 lines, expected at most 1"):
        sheet([line()] * 3, low)


def test_ink_is_seen_for_its_style_whatever_its_paper():
    seen = [ink_picture(line(paper=paper).image, 1400) for paper in (255, 150)]
    assert seen[0].shape == seen[1].shape == (96, seen[0].shape[1])
    assert np.abs(seen[0].astype(int) - seen[1]).mean() < 10
    assert ink_picture(np.full((64, 30), 255, np.uint8), 1400).shape[0] == 96
    assert ink_picture(InkMedium().nothing, 1400).shape[0] == 96
