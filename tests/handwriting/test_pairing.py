import numpy as np

from data.strokes import Strokes
from handwriting.pairing import pair


def test_every_line_has_another_one_of_its_writer():
    writers = Strokes().read("train").writers
    other, alone = pair(writers)
    assert alone == 0
    assert (writers[other] == writers).all() and (other != np.arange(len(other))).all()


def test_all_other_lines_are_drawn_alike():
    writers = np.array([3, 7, 3, 3, 3])
    draws = np.stack([pair(writers, seed).other for seed in range(4000)])
    counts = np.bincount(draws[:, 0], minlength=5)
    assert counts[[0, 1]].tolist() == [0, 0]
    assert np.abs(counts[2:] / 4000 - 1 / 3).max() < 0.03


def test_a_writer_of_one_line_is_counted_and_has_its_own():
    other, alone = pair(np.array([3, 7, 3]))
    assert alone == 1 and other.tolist() == [2, 1, 0]


def test_pairs_are_fixed_and_do_not_depend_on_other_writers():
    writers = np.array([1, 1, 1, 1, 2, 2, 2, 2])
    assert (pair(writers).other == pair(writers).other).all()
    assert (pair(writers).other[:4] == pair(writers[:4]).other).all()
    assert any((pair(writers, 1).other != pair(writers, seed).other).any() for seed in range(2, 5))
