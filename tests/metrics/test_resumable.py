"""An evaluation that is cut off goes on where it stopped and counts every example once."""

import numpy as np
import pytest
from damage import NAMES, damages

from metrics.resumable import Resumable, fill
from options.errors import StorageError


def squares(indices):
    return {"square": indices**2, "image": np.full((len(indices), 2), indices[:, None])}


def test_cut_off_and_continued_equals_uninterrupted(tmp_path):
    seen = []

    def fails_once(indices):
        if len(seen) == 2:
            seen.append(None)
            raise KeyboardInterrupt
        seen.append(indices)
        return squares(indices)

    with pytest.raises(KeyboardInterrupt):
        fill(Resumable(tmp_path, "part", {"step": 1}), 11, 4, fails_once, "cut", progress=False)
    store = Resumable(tmp_path, "part", {"step": 1})
    assert store.done == 8
    rows = fill(store, 11, 4, fails_once, "continued", progress=False)
    np.testing.assert_array_equal(rows["square"], np.arange(11) ** 2)
    assert rows["image"].shape == (11, 2) and len(seen) == 4


def test_batch_size_may_change_and_more_may_be_asked_for(tmp_path):
    fill(Resumable(tmp_path, "part", {}), 7, 3, squares, "first", progress=False)
    rows = fill(Resumable(tmp_path, "part", {}), 12, 5, squares, "more", progress=False)
    np.testing.assert_array_equal(rows["square"], np.arange(12) ** 2)
    assert len(Resumable(tmp_path, "part", {}).read(4)["square"]) == 4


def test_another_identity_sees_none_of_it(tmp_path):
    fill(Resumable(tmp_path, "part", {"step": 1}), 4, 4, squares, "one", progress=False)
    assert Resumable(tmp_path, "part", {"step": 2}).done == 0


def test_a_file_that_does_not_continue_the_chain_is_not_counted(tmp_path):
    store = Resumable(tmp_path, "part", {})
    for start in (0, 3, 6):
        store.keep(start, squares(np.arange(start, start + 3)))
    (store.folder / "00000003-00000006.npz").unlink()
    assert store.done == 3  # and not 6: the last three are computed again
    rows = fill(store, 9, 3, squares, "again", progress=False)
    np.testing.assert_array_equal(rows["square"], np.arange(9) ** 2)


def test_of_two_evaluations_at_once_the_longest_whole_chain_counts(tmp_path):
    """One in twos, cut off at 4, and one in threes; the order of the names favours neither."""
    for size, upto in ((2, 4), (3, 9)):
        store = Resumable(tmp_path, "part", {"sizes": "2 and 3"})
        for start in range(0, upto, size):
            store.keep(start, squares(np.arange(start, start + size)))
    assert store.done == 9
    np.testing.assert_array_equal(store.read(9)["square"], np.arange(9) ** 2)
    store.keep(4, squares(np.arange(4, 12)))  # the first goes on, and is ahead
    assert store.done == 12
    np.testing.assert_array_equal(store.read(12)["square"], np.arange(12) ** 2)


def test_rows_that_vanish_are_an_error_and_not_a_smaller_report(tmp_path):
    def removes(indices):
        for path in store.folder.glob("*.npz"):
            path.unlink()
        return squares(indices)

    store = Resumable(tmp_path, "part", {})
    store.keep(0, squares(np.arange(4)))
    with pytest.raises(StorageError, match="^eval: .* has the rows of 0 of 8 examples"):
        fill(store, 8, 4, removes, "emptied", progress=False)


@pytest.mark.parametrize("how", NAMES)
def test_a_damaged_file_is_computed_again(how, tmp_path, caplog):
    store = Resumable(tmp_path, "part", {})
    for start in (0, 3, 6):
        store.keep(start, squares(np.arange(start, start + 3)))
    path = store.folder / "00000003-00000006.npz"
    path.write_bytes(damages(path.read_bytes())[how])
    rows = fill(store, 9, 3, squares, "again", progress=False)
    np.testing.assert_array_equal(rows["square"], np.arange(9) ** 2)
    assert "00000003-00000006.npz is damaged" in caplog.text and store.done == 9


def test_rows_of_another_number_are_damaged_and_a_folder_is_no_file(tmp_path, caplog):
    store = Resumable(tmp_path, "part", {})
    store.keep(0, squares(np.arange(3)))
    (store.folder / "00000000-00000003.npz").rename(store.folder / "00000000-00000005.npz")
    (store.folder / "00000000-00000009.npz").mkdir()
    assert store.done == 0 and "[3] rows in place of 5" in caplog.text
