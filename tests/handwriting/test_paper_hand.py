import dataclasses
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from handwriting.paper_hand import OutlineFont, PaperHand, smooth
from options.errors import InvalidValue

FOLDER = Path(matplotlib.get_data_path()) / "fonts/ttf"
FONT = OutlineFont("dejavu", (FOLDER / "DejaVuSans.ttf").read_bytes())
PLAIN = PaperHand("plain", FONT, slope=0, drift=0, wobble=0, unevenness=0, grain=0)


def ink(image):
    return image < 128


def test_an_image_is_that_of_its_text_seed_and_hand():
    hand = PaperHand.of(FONT, 1, seed=0)
    first, again, other = (hand.write("ink & co.", np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape[0] == 64 and first.dtype == np.uint8 and np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first[first < 250] % 8 == 0).all() and len(np.unique(first)) <= 33
    assert hand.name == "dejavu/1" and PaperHand.of(FONT, 1, seed=0).slant == hand.slant
    assert PaperHand.of(FONT, 2, seed=0).slant != hand.slant != PaperHand.of(FONT, 1, 1).slant


def test_nothing_of_a_line_is_cut_off():
    for seed in range(3):
        for text in ("({[|]})_jgyQ@", "'\"^`", "_", "Mfpb"):
            image = PaperHand.of(FONT, seed, seed).write(text, np.random.default_rng(seed))
            edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
            assert ink(image).any() and not ink(edge).any()


def test_letters_stand_on_one_baseline_and_are_of_one_size():
    def rows(text):
        found = np.flatnonzero(ink(PLAIN.write(text, np.random.default_rng(0))).any(1))
        return found[0], found[-1]

    (x_top, x_low), (h_top, h_low), (p_top, p_low) = map(rows, ("xxx", "HHH", "ppp"))
    assert abs(x_low - h_low) <= 1 and abs(x_low - 42) <= 2 and abs(x_top - p_top) <= 2
    assert p_low - x_low > 6 and 0.65 < (x_low - x_top) / (h_low - h_top) < 0.85


def test_each_option_does_what_it_says():
    def of(text="HHHH", **changes):
        hand = dataclasses.replace(PLAIN, **changes)
        return hand.write(text, np.random.default_rng(3))

    plain = of()
    thick, thin = (ink(of(weight=weight)).sum() for weight in (0.6, -0.6))
    assert thick > 1.1 * ink(plain).sum() and ink(plain).sum() > 1.05 * thin
    assert of(width=1.3).shape[1] > 1.2 * plain.shape[1]
    assert np.median(of(paper=232.0)) < np.median(of(paper=250.0))
    assert of(ink=16.0).min() < of(ink=96.0).min()
    assert len(np.unique(of(grain=12.0))) > len(np.unique(plain))
    low, high = (np.flatnonzero(row)[-1] for row in ink(of("H", slant=0.3))[[40, 15]])
    assert high - low == pytest.approx(0.3 * 25, abs=2)
    assert np.ptp(np.flatnonzero(ink(of(size=1.2)).any(1))) > 1.3 * np.ptp(
        np.flatnonzero(ink(of(size=0.85)).any(1))
    )


def test_smooth_fields_have_mean_0_and_deviation_1():
    fields = np.stack([smooth((64, 300), 24, np.random.default_rng(k)) for k in range(20)])
    assert fields.shape == (20, 64, 300) and abs(fields.mean()) < 0.1
    assert fields.std() == pytest.approx(1, abs=0.15)
    assert np.abs(np.diff(fields, axis=-1)).max() < 0.5


def test_a_font_says_what_it_lacks():
    assert FONT.lacks() == ""
    assert FONT.lacks("a\u4e2d\u3042") == "\u4e2d\u3042"
    with pytest.raises(InvalidValue, match="^bad: it is no font"):
        OutlineFont("bad", b"nothing").lacks()
    with pytest.raises(InvalidValue, match="^text: got ' '"):
        PLAIN.write(" ", np.random.default_rng(0))
