"""An evaluation that is cut off goes on where it stopped and counts every example once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from damage import NAMES, damages

from metrics.resumable import Resumable, Share, fill
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


def test_parts_of_hosts_are_all_examples_once():
    for count in (1, 7, 50_000):
        for hosts in (1, 3, 8):
            parts = [Share(i, hosts).part(count) for i in range(hosts)]
            assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
            sizes = [stop - start for start, stop in parts]
            assert parts[-1][1] == count and max(sizes) - min(sizes) <= 1


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Runs some hosts of several at once, on one folder; gives the rows of each and the examples
    that were computed."""
    monkeypatch.setattr("metrics.resumable.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("metrics.resumable.WRITE_SECONDS", 0.0)

    def run(count, sizes, of, stop_at=None):
        seen = []

        def host(index):
            def compute(numbers):
                if stop_at and sum(map(len, seen)) >= stop_at:
                    raise KeyboardInterrupt
                seen.append(numbers)
                return squares(numbers)

            share, store = Share(index, of), Resumable(tmp_path, "part", {})
            size = sizes[index % len(sizes)]
            return fill(store, count, size, compute, "part", progress=False, share=share)

        with ThreadPoolExecutor(of) as pool:
            found = [pool.submit(host, index) for index in range(of)]
            if stop_at:  # nobody would wait for hosts that ended
                monkeypatch.setattr(Resumable, "has", lambda *_: True)
                for future in found:
                    future.exception()
                monkeypatch.undo()
                return None, np.concatenate(seen)
            return [future.result() for future in found], np.concatenate(seen)

    return run


def test_each_host_computes_its_part_and_has_the_rows_of_all(hosts):
    results, seen = hosts(23, [2, 5, 3], 3)
    for rows in results:
        np.testing.assert_array_equal(rows["square"], np.arange(23) ** 2)
    assert len(results) == 3 and set(seen) == set(range(23))


def test_a_run_of_three_hosts_goes_on_with_two(hosts, tmp_path):
    hosts(40, [3], 3, stop_at=18)
    store = Resumable(tmp_path, "part", {})
    gaps = store.gaps(0, 40)
    assert len(gaps) > 1 and 0 < sum(stop - start for start, stop in gaps) < 40
    results, seen = hosts(40, [4, 1], 2)
    np.testing.assert_array_equal(results[0]["square"], np.arange(40) ** 2)
    lacked = {i for start, stop in gaps for i in range(start, stop)}
    assert lacked <= set(seen) and results[1]["image"].shape == (40, 2)


def test_gaps_are_what_no_file_has(tmp_path):
    store = Resumable(tmp_path, "part", {})
    for start, stop in ((2, 4), (3, 6), (9, 12), (10, 11), (20, 21)):
        store.keep(start, squares(np.arange(start, stop)))
    assert store.gaps(0, 15) == [(0, 2), (6, 9), (12, 15)]
    assert store.gaps(3, 11) == [(6, 9)] and store.gaps(9, 12) == []
    assert store.done == 0 and not store.has(1)


CHILD = """
import sys, time, pathlib
import numpy as np
from metrics import resumable
from metrics.resumable import Resumable, fill
folder, slow = pathlib.Path(sys.argv[1]), float(sys.argv[2])
resumable.WRITE_SECONDS = 0.0
savez = np.savez_compressed
def half_written(file, **rows):
    file.write(b"PK half of a file")
    file.flush()
    print("writing", flush=True)
    time.sleep(slow)
    file.seek(0)
    savez(file, **rows)
np.savez_compressed = half_written
def compute(numbers):
    print("computing", flush=True)
    time.sleep(slow)
    return {"square": numbers ** 2}
fill(Resumable(folder, "part", {}), 30, 4, compute, "part", progress=False)
print("done", flush=True)
"""


def test_killed_at_any_instant_it_loses_and_repeats_nothing(tmp_path):
    """By SIGKILL while a batch is computed, and while a file is written, time after time."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def start(slow):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(slow)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    for kill_at in (1, 4, 3, 2):  # line of the child's output; odd ones are "computing"
        with start(30) if kill_at == 1 else start(0.05) as child:
            for _ in range(kill_at):
                line = child.stdout.readline()
            child.kill()
        assert line.strip() == ("computing" if kill_at % 2 else "writing")
        store = Resumable(tmp_path, "part", {})
        rows = store.read(30).get("square", np.zeros(0))
        np.testing.assert_array_equal(rows, np.arange(len(rows)) ** 2)
    with start(0.0) as child:
        assert child.stdout.read().strip().endswith("done")
    np.testing.assert_array_equal(store.read(30)["square"], np.arange(30) ** 2)
    ranges = [tuple(map(int, path.stem.split("-"))) for path in store.folder.glob("[0-9]*.npz")]
    assert sorted(i for start, stop in ranges for i in range(start, stop)) == list(range(30))
