"""Bars: lines of their own in a file, one row in a terminal."""

import io
import sys

import pytest

from options import progress
from options.progress import bar_updater, progress_bar


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
