"""Bars: lines of their own in a file, one row in a terminal."""

import errno
import io
import re
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from options import progress
from options.progress import Bar, Pace, bar_updater, busy, part_of, progress_bar


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


@pytest.fixture
def show(monkeypatch):
    def run(terminal, seconds):
        stream = Stream(terminal)
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(progress, "SECONDS", seconds)
        monkeypatch.setattr(progress, "QUIET", 0.0)
        with progress_bar(desc="sample") as bar:
            update = bar_updater(bar)
            for done in range(1, 6):
                update(done, 5)
                bar.write("beside it", file=stream)
        return stream.getvalue()

    return run


def test_in_a_file_bars_are_lines(show):
    lines = show(False, 0.0).splitlines()
    assert [line for line in lines if line == "beside it"] == 5 * ["beside it"]
    own = [line for line in lines if line != "beside it"]
    assert all(line.startswith("sample: ") and "\r" not in line for line in own)
    assert "sample: 5 of 5 steps" in own[-1]


def test_in_a_file_a_bar_within_a_bar_is_lines_too(show, monkeypatch):
    with progress_bar(desc="outer", total=3) as outer:
        outer.update()
        assert "\x1b" not in show(False, 0.0)


def test_in_a_file_a_bar_is_shown_now_and_then(show):
    own = [line for line in show(False, 30.0).splitlines() if line.startswith("sample")]
    assert len(own) == 2  # as it begins and as it ends


def test_in_a_terminal_a_bar_is_one_row(show):
    assert "\rsample:" in show(True, 30.0)


# What is said while nothing moves a bar. Times are given to `tick`, as the thread that looks at the
# bars does.


@pytest.fixture
def on(monkeypatch):
    """Makes standard error a terminal or a file, whose bars the thread does not look at."""
    monkeypatch.setattr(progress, "_WATCH", SimpleNamespace(look_at=lambda bar: None))

    def make(terminal):
        stream = Stream(terminal)
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return make


def said(stream):
    """What has been shown since the last call."""
    text = stream.getvalue()
    stream.seek(0), stream.truncate()
    return text


def test_a_bar_in_a_terminal_shows_every_second_what_it_waits_for(on):
    stream = on(terminal=True)
    with progress_bar(desc="sample") as bar:
        update, began = bar_updater(bar), bar.start_t
        said(stream)
        bar.tick(began + 0.5)
        assert said(stream) == ""
        for seconds in (1.1, 2.2, 3.3):
            bar.tick(began + seconds)
            assert "compiling" in said(stream)
        update(0, 8)
        bar.tick(began + 4.4)
        assert "0/8" in (shown := said(stream)) and "compiling" not in shown
        update(8, 8)
        bar.tick(began + 5.5)
        assert "8/8" in (shown := said(stream)) and "finishing" in shown
    assert "finishing" not in said(stream)  # as it is left


def test_a_file_has_a_line_after_five_seconds_and_then_now_and_then(on):
    stream = on(terminal=False)
    with progress_bar(desc="train", total=9) as bar:
        began = bar.start_t
        bar.doing("compiling")
        lines = {}
        for seconds in range(1, 100):
            bar.tick(began + seconds)
            if shown := said(stream):
                lines[seconds] = shown
        first, *later = lines
        assert 5 <= first <= 6 and lines[first].startswith("train: 0 of 9 steps")
        assert lines[first].endswith("compiling\n")
        assert np.diff([first, *later]).tolist() == [30, 30, 30]
        bar.doing("")
        bar.tick(began + 100)
        assert said(stream) == ""


def test_a_file_has_one_line_where_two_ask_for_it(on):
    """The thread, progress and tqdm's own thread find at once that it is time."""
    stream = on(terminal=False)
    with progress_bar(desc="train", total=9) as bar:
        bar.start_t -= 40
        bar.last_print_t -= 40
        bar.tick(time.time())
        bar.update(2)
        bar.refresh(nolock=True)
        assert len(said(stream).splitlines()) == 1
        bar._shown -= 40
        bar.refresh(nolock=True)
        assert said(stream).startswith("train: 2 of 9 steps")


def test_a_file_says_nothing_of_an_unknown_number_of_steps(on):
    stream = on(terminal=False)
    with progress_bar(desc="sample") as bar:
        update = bar_updater(bar)
        bar.tick(bar.start_t + 5.1)
        assert re.fullmatch(r"sample: 00:0\d, compiling\n", said(stream))
        update(3, 20)
        bar.tick(bar.start_t + 40)
        assert said(stream).startswith("sample: 3 of 20 steps")
        update(20, 20)
    assert said(stream).startswith("sample: 20 of 20 steps")  # as what was shown ends


def test_a_file_has_no_line_of_what_is_quick(on):
    stream = on(terminal=False)
    with progress_bar(range(3), "checking files") as bar:
        assert list(bar) == [0, 1, 2]
    assert said(stream) == ""


def test_what_is_quick_is_not_said(on):
    stream = on(terminal=True)
    with busy("reading"):
        pass
    assert "reading" not in said(stream)
    bar = progress_bar(desc="x", delay=5.0)
    bar.tick(bar.start_t + 4.9)
    assert said(stream) == ""
    bar.tick(bar.start_t + 5.1)
    assert "x" in said(stream)
    bar.close()


@pytest.mark.parametrize("terminal", [True, False])
def test_what_cannot_say_how_far_it_is_says_what_it_does(terminal, on, monkeypatch):
    stream, bars = on(terminal), []
    make = progress.progress_bar
    monkeypatch.setattr(
        progress, "progress_bar", lambda *a, **o: bars.append(make(*a, **o)) or bars[-1]
    )
    with busy("making the parameters"):
        bars[0].tick(bars[0].start_t + (1.1 if terminal else 5.1))
        assert "making the parameters, 00:0" in said(stream)


def test_what_is_for_terminals_alone_leaves_files_as_they_are(on):
    for terminal in (True, False):
        stream = on(terminal)
        with busy("starting", in_files=False):
            for bar in list(Bar._instances):
                bar.tick(bar.start_t + 99 if not bar.disable else 0)
        assert ("starting" in said(stream)) == terminal


def test_a_thread_looks_at_bars_as_long_as_there_are_any(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Stream(True))
    monkeypatch.setattr(progress, "TICK", 0.001)
    seen, ticked = [], threading.Event()
    monkeypatch.setattr(Bar, "tick", lambda bar, now: (seen.append(bar), ticked.set()))
    watch = progress._Watch()
    monkeypatch.setattr(progress, "_WATCH", watch)
    with progress_bar(desc="sample") as bar:
        assert ticked.wait(5.0) and bar in seen
        thread = watch._thread
    thread.join(5.0)
    assert not thread.is_alive() and watch._thread is None


def test_a_stream_that_nobody_reads_does_not_end_the_thread(on, monkeypatch):
    on(terminal=True)
    bar, looks = progress_bar(desc="sample"), []

    def broken():
        looks.append(bar)
        bar.disable = len(looks) > 2
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(bar, "display", broken)
    monkeypatch.setattr(progress, "TICK", 0.001)
    monkeypatch.setattr(bar, "every", 0.0)
    watch = progress._Watch()
    watch.look_at(bar)
    watch._thread.join(5.0)
    assert len(looks) == 3
    free = [lock.acquire(False) for lock in bar.get_lock().locks]
    bar.get_lock().release()
    assert all(free)  # Else the next bar of this thread would wait for ever.


def test_the_progress_of_parts_is_that_of_the_whole():
    calls = []
    whole = lambda done, of: calls.append((done, of))  # noqa: E731
    for number in range(3):
        for done in (0, 10):
            part_of(whole, number, 3)(done, 10)
    assert calls == [(0, 30), (10, 30), (10, 30), (20, 30), (20, 30), (30, 30)]


@pytest.mark.parametrize("round_takes", [1e-5, 0.01, 0.3, 7.0])
def test_parts_of_a_work_take_about_a_second(round_takes):
    pace, taken = Pace(), []
    for _ in range(9):
        taken.append(pace.rounds * round_takes)
        pace.took(taken[-1])
    assert max(taken) <= max(1.0, round_takes)
    assert taken[-1] == pytest.approx(max(1.0, round_takes), rel=0.3)
    assert taken[0] == round_takes  # the first part is the least
