import dataclasses

import numpy as np
import pytest

from handwriting.preprocessing import (
    PRESETS,
    Preprocessing,
    level,
    merged,
    resampled,
    scaled,
    to_rows,
    to_strokes,
    upright,
)
from options.errors import InvalidValue

RNG = np.random.default_rng(0)
STROKES = [
    np.array([[10, 20], [13, 16], [13, 10]]),
    np.array([[20, 20]]),
    np.array([[21, 22], [25, 22]]),
]


def random_line(strokes=6, points=12, seed=0):
    """Strokes that run to the right, of different lengths."""
    rng = np.random.default_rng(seed)
    return [
        np.cumsum(rng.normal((1, 0), (1, 2), (points + k, 2)), axis=0) + [12 * k, 0]
        for k in range(strokes)
    ]


def test_rows_go_from_point_to_point_with_y_up():
    assert to_rows(STROKES).tolist() == [
        [0, 0, 1], [3, 4, 0], [0, 6, 0], [7, -10, 1], [1, -2, 1], [4, 0, 0],
    ]  # fmt: skip


def test_strokes_come_back_from_rows_the_last_one_too():
    back = to_strokes(to_rows(STROKES))
    assert [len(stroke) for stroke in back] == [3, 1, 2]
    for stroke, given in zip(back, STROKES, strict=True):
        assert np.array_equal(stroke + STROKES[0][0], given)


def test_scaled_rows_have_the_standard_deviation_one():
    rows = scaled(to_rows(random_line()))
    assert rows[:, :2].std() == pytest.approx(1) and set(rows[:, 2]) == {0, 1}
    given = to_rows(random_line())
    assert np.allclose(rows[:, :2] * given[:, :2].std(), given[:, :2])
    with pytest.raises(InvalidValue, match="strokes: got offsets that are all equal"):
        scaled(np.zeros((3, 3)))


def test_pairs_that_go_straight_on_are_merged_first():
    rows = np.array([[0, 0, 1], [1, 0, 0], [1, 1, 0], [2, 2, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0.0]])
    assert merged(rows, 0.2).tolist() == [
        [0, 0, 1], [1, 0, 0], [3, 3, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0],
    ]  # fmt: skip
    # The pair of rows 0 and 1 has no detour either, but a pen that comes down in between.
    assert merged(rows, 0.3, across=True).tolist() == [
        [1, 0, 1], [3, 3, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0],
    ]  # fmt: skip
    assert merged(rows, 0.3).tolist() == [[0, 0, 1], [1, 0, 0], [3, 3, 0], [1, 1, 0], [5, 0, 0]]
    assert np.array_equal(merged(rows, 0.9)[:, :2].sum(0), rows[:, :2].sum(0))


def published(points, ends):
    """What the code published with Luhman and Luhman 2020 does to a line, step by step."""
    rows = [
        [points[i][0] - points[i - 1][0], points[i - 1][1] - points[i][1], float(ends[i])]
        for i in range(1, len(points))
    ]
    rows = np.array(rows)
    rows[:, 2] = [rows[-1, 2], *rows[:-1, 2]]
    rows[:, :2] /= rows[:, :2].std()
    for _ in range(3):
        n, pairs = int(0.2 * len(rows)), len(rows) // 2
        cost = []
        for k in range(pairs):
            a, b = rows[2 * k, :2], rows[2 * k + 1, :2]
            cost.append(np.hypot(*a) + np.hypot(*b) - np.hypot(*(a + b)))
        chosen = sorted(range(pairs), key=cost.__getitem__)[:n]
        found = []
        for k in range(pairs):
            a, b = rows[2 * k], rows[2 * k + 1]
            pen = float(a[2] > 0 or b[2] > 0)
            found += [[*(a[:2] + b[:2]), pen]] if k in chosen else [a, b]
        rows = np.array([*found, *rows[2 * pairs :]])
        rows[:, :2] /= rows[:, :2].std()
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_the_reference_preset_is_the_published_code(seed):
    strokes = random_line(points=11 + seed, seed=seed)
    points = np.concatenate(strokes)
    ends = np.zeros(len(points), bool)
    ends[np.cumsum([len(stroke) for stroke in strokes]) - 1] = True
    expected = published(points, ends)
    found = PRESETS["reference"](strokes)
    assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-12
    assert found[0, 2] == 1


def test_the_paper_preset_keeps_every_stroke():
    strokes = random_line()
    rows = PRESETS["paper"](strokes)
    count = sum(map(len, strokes))
    assert len(rows) < 0.6 * count and rows[:, :2].std() == pytest.approx(1)
    assert rows[:, 2].sum() == len(strokes) and rows[0].tolist() == [0, 0, 1]
    # The ends of each stroke are where they were.
    unit = np.ptp(np.concatenate(strokes)[[0, -1]], axis=0) / np.ptp(
        np.concatenate(to_strokes(rows))[[0, -1]], axis=0
    )
    for before, after in zip(strokes, to_strokes(rows), strict=True):
        there = after[[0, -1]] * unit + strokes[0][0]
        assert np.abs(there - before[[0, -1]]).max() < 1e-9


def test_resampled_points_are_evenly_apart_and_keep_the_ends():
    path = np.array([[0, 0], [3, 4], [3, 14], [3, 14]], float)
    even, dot = resampled([path, np.array([[1.0, 2.0]])], 1.0)
    assert len(even) == 16 and np.array_equal(even[[0, -1]], path[[0, -1]])
    assert np.linalg.norm(np.diff(even, axis=0), axis=1) == pytest.approx(1)
    assert dot.tolist() == [[1, 2]]
    assert len(resampled([path], 100.0)[0]) == 2


def wave(slope=0.0, slant=0.0):
    """Upright zigzags along a baseline, climbing by `slope`, with the tops moved by `slant`."""
    x = np.repeat(np.arange(40.0), 2)
    y = np.tile([0.0, -3.0], 40)
    return [np.stack([x - slant * y, y - slope * x], 1)]


def test_baselines_are_levelled():
    (flat,) = level(wave(slope=0.2))
    assert np.abs(flat - flat.mean(0) - (wave()[0] - wave()[0].mean(0))).max() < 0.2
    assert abs(np.polyfit(*flat.T, 1)[0]) < 1e-9
    vertical = [np.array([[0.0, 0], [0.1, 9]])]
    assert np.array_equal(level(vertical)[0], vertical[0])
    assert np.array_equal(level([np.ones((3, 2))])[0], np.ones((3, 2)))


def test_slants_are_taken_out():
    straight, slanted = upright(wave()), upright(wave(slant=0.3))
    assert np.abs(straight[0] - slanted[0]).max() < 1e-9
    assert np.abs(np.diff(slanted[0], axis=0)[1::2, 0]).max() < 1e-9  # the way down
    sideways = [np.array([[0.0, 0], [5, 0]])]
    assert np.array_equal(upright(sideways)[0], sideways[0])


def test_options_come_before_the_rows():
    both = Preprocessing(level=True, upright=True, spacing=0.25, merges=0, scale=False)
    rows = both(wave(slope=0.1, slant=0.3))
    assert np.linalg.norm(rows[1:, :2], axis=1).max() < 0.25 * 4.5
    assert abs(np.polyfit(*np.cumsum(rows[:, :2], axis=0).T, 1)[0]) < 0.02


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        ([], "strokes: got no point"),
        ([np.zeros((0, 2))], "strokes: got no point"),
        ([np.array([[1.0, 2.0]])], "all equal"),
        ([np.array([[1.0, np.nan]])], "not finite"),
        (random_line(strokes=80), "strokes: got [0-9]+ points, expected at most 488"),
        (
            [np.array([[0, 0], *([[1, 0], [0, 0]] * 200), [900, 0]])],
            "an offset of .*, expected at most 15",
        ),
    ],
)
@pytest.mark.parametrize("preset", ["paper", "reference"])
def test_what_is_no_line_is_refused(strokes, message, preset):
    with pytest.raises(InvalidValue, match=message if preset == "paper" else "strokes: "):
        PRESETS[preset](strokes)


def test_the_preset_none_leaves_rows_as_they_are():
    far = [np.array([[0.0, 0.0], [1e6, 5.0]])]
    assert np.array_equal(PRESETS["none"](far), to_rows(far))
    with pytest.raises(InvalidValue, match="fraction: got 1.0"):
        dataclasses.replace(PRESETS["none"], fraction=1.0)
