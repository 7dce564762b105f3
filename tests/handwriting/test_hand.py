import dataclasses

import numpy as np
import pytest

from handwriting.hand import Hand, field, seen
from handwriting.pen_font import Glyph, PenFont
from handwriting.tracing import even
from options.errors import InvalidValue

# A letter that ends where the next begins, one that does not, and one of two strokes.
WAVE, STEM, BAR = (
    even(np.array(points), 0.03)
    for points in (
        [[0, -0.5], [0.3, -1], [0.6, 0], [1.0, -0.5]],
        [[0.5, -2], [0.5, 0]],
        [[0.2, -1], [0.8, -1]],
    )
)
GLYPHS = {
    "w": Glyph((WAVE,), 1.0),
    "l": Glyph((STEM,), 1.0),
    "t": Glyph((STEM, BAR), 1.0),
    " ": Glyph((), 0.5),
}
FONT = PenFont("mine", GLYPHS)
STILL = {
    "slope": 0.0, "drift": 0.0, "quirk": 0.0, "wobble": 0.0, "unevenness": 0.0, "word_space": 0.5
}  # fmt: skip
STEADY = Hand("me", FONT, **STILL)


def rng(seed=0):
    return np.random.default_rng(seed)


def size_of(strokes):
    return np.ptp(np.concatenate(strokes), axis=0)


def test_a_steady_hand_writes_the_font():
    strokes = STEADY.write("lt l", rng())
    assert len(strokes) == 4  # none for the space
    unit = -strokes[0][0, 1] / 2  # the size differs a little from line to line
    assert abs(unit - 1) < 0.1
    ends = [stroke[[0, -1]] / unit for stroke in strokes]
    slant = (ends[0][0, 0] - ends[0][1, 0]) / 2
    assert abs(slant) < 0.1
    feet = [ends[0][1, 0], ends[1][1, 0], ends[3][1, 0]]
    assert feet == pytest.approx([0.5, 1.5, 3.0], abs=0.2)
    assert np.diff(feet)[0] == pytest.approx(1)


def test_a_text_of_spaces_has_no_strokes_and_an_unknown_letter_is_named():
    assert STEADY.write("  ", rng()) == [] == STEADY.write("", rng())
    with pytest.raises(InvalidValue, match="text: got 'x', expected a character of the font mine"):
        STEADY.write("lx", rng())


def test_letters_that_nearly_touch_are_joined_where_the_hand_joins():
    assert [len(dataclasses.replace(STEADY, joins=j).write("www", rng())) for j in (0, 0.1)] == [
        3,
        1,
    ]
    joined = dataclasses.replace(STEADY, joins=0.1)
    assert len(joined.write("wlw", rng())) == 3 and len(joined.write("w w", rng())) == 2
    assert len(joined.write("wt", rng())) == 3


@pytest.mark.parametrize(
    ("change", "wider", "higher"), [({"size": 2.0}, 2, 2), ({"width": 1.5}, 1.5, 1)]
)
def test_sizes_and_widths_are_those_of_the_hand(change, wider, higher):
    plain = size_of(STEADY.write("wlw", rng()))
    changed = size_of(dataclasses.replace(STEADY, **change).write("wlw", rng()))
    assert changed / plain == pytest.approx([wider, higher], rel=0.1)


def test_the_slant_moves_what_is_high_to_the_right():
    (stroke,) = dataclasses.replace(STEADY, slant=0.3).write("l", rng())
    (plain,) = STEADY.write("l", rng())
    lean = (stroke[0, 0] - stroke[-1, 0]) / (stroke[-1, 1] - stroke[0, 1])
    assert lean - (plain[0, 0] - plain[-1, 0]) / (plain[-1, 1] - plain[0, 1]) == pytest.approx(0.3)


def test_spacing_is_added_between_letters():
    wide = size_of(dataclasses.replace(STEADY, spacing=0.5).write("lll", rng()))[0]
    assert wide - size_of(STEADY.write("lll", rng()))[0] == pytest.approx(1.0, rel=0.1)


def test_the_baseline_climbs_and_drifts():
    feet = np.array([s[-1] for s in dataclasses.replace(STEADY, drift=0.3).write("l" * 40, rng())])
    assert 0.1 < feet[:, 1].std() < 0.6 and np.abs(np.diff(feet[:, 1])).max() < 0.3
    slopes = [
        np.polyfit(*np.array([s[-1] for s in hand.write("l" * 20, rng(seed))]).T, 1)[0]
        for seed in range(40)
        for hand in [dataclasses.replace(STEADY, slope=0.1)]
    ]
    assert np.std(slopes) == pytest.approx(0.1, rel=0.4)


def test_quirks_stay_and_wobbles_change():
    def ends(**options):
        strokes = dataclasses.replace(STEADY, **options).write("ll", rng())
        return np.array([stroke[-1] - stroke[0] for stroke in strokes])

    one, two = ends(quirk=0.1)
    assert np.abs(one - two).max() < 1e-9 and np.abs(one - ends()[0]).max() > 0.02
    assert np.abs(one - ends(quirk=0.1, seed=1)[0]).max() > 0.02
    one, two = ends(wobble=0.1)
    assert np.abs(one - two).max() > 0.02


def test_the_field_has_unit_variance_and_is_smooth():
    points = np.stack(np.meshgrid(np.arange(60.0), np.arange(60.0)), -1).reshape(-1, 2)
    values = np.stack([field(points, rng(seed), 16) for seed in range(20)])
    assert values.std() == pytest.approx(1, abs=0.1)
    close = field(points + 0.01, rng(0), 16) - values[0]
    assert np.abs(close).max() < 0.15


def test_the_pen_slows_down_where_it_turns():
    # On a circle of radius r the speed of equation (1) is speed (1 / r + 0.5)^(-1/3).
    for radius in (0.5, 2.0):
        turn = np.linspace(0, 2 * np.pi, int(2 * np.pi * radius / 0.03))
        circle = radius * np.stack([np.cos(turn), np.sin(turn)], 1)
        steps = np.linalg.norm(np.diff(seen(circle, 0.2), axis=0), axis=1)
        expected = 0.2 * (1 / radius + 0.5) ** (-1 / 3)
        assert np.median(steps) == pytest.approx(expected, rel=0.05)
    corner = even(np.array([[0.0, 0], [2, 0], [2, 2]]), 0.03)
    points = seen(corner, 0.3)
    near = np.linalg.norm(points - [2, 0], axis=1).min()
    assert near < 0.1 and np.array_equal(points[[0, -1]], corner[[0, -1]])


def test_a_dot_is_a_short_stroke():
    assert len(seen(np.array([[0.0, 0], [0.02, 0.05]]), 0.4)) == 2
    assert len(seen(even(np.array([[0.0, 0], [0.02, 0.2]]), 0.03), 0.4)) == 2


def test_hands_are_drawn_by_their_seed_and_number():
    first, again, second, other = (
        Hand.of(FONT, number, seed) for number, seed in ((1, 0), (1, 0), (2, 0), (1, 1))
    )
    assert (first.name, second.name) == ("mine/1", "mine/2")
    for field_ in ("size", "slant", "speed", "seed"):
        assert getattr(first, field_) == getattr(again, field_)
        assert len({getattr(hand, field_) for hand in (first, second, other)}) == 3
    one, two = (np.concatenate(hand.write("wl tw", rng(3))) for hand in (first, again))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, np.concatenate(first.write("wl tw", rng(4))))
