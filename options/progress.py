"""Progress of what takes long: a bar that moves in a terminal, a line now and then in a file.

Nothing that runs for more than QUIET seconds is silent. Where it can say how far it is, it moves a
bar; where it cannot, as a compilation, the bar says what is being done (`Bar.doing`, `busy`). A
thread shows the bars while the program that they are of is at work and says nothing itself.
"""

import contextlib
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from tqdm import tqdm

SECONDS = 30.0  # between the lines in a file
QUIET = 5.0  # seconds after which a file says what is being done
TICK = 1.0  # between two looks at the bars; so often those in a terminal are shown
PACE = 1.0  # seconds of work between two reports of progress
FASTER = 8  # at most so many times as much work in one part as in the one before
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed}, {remaining} left, {rate_fmt}{postfix}"
BEGUN = "{desc}: {elapsed}{postfix}"  # of a bar that does not know yet how long it is
BUSY = "{desc}, {elapsed}"
Progress = Callable[[int, int], None]  # called as progress(done, of)


class Lines:
    """A stream that makes a line of each state of a bar, in place of overwriting the last one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        if said := text.strip():
            self.stream.write(f"{said}\n")

    def flush(self) -> None:
        self.stream.flush()


class Bar(tqdm):
    """A tqdm bar that is also shown while nothing moves it.

    Attributes:
      every: seconds after which it is shown again. apart: seconds until then at least, whoever
        asks for it.
    """

    def __init__(self, *args: Any, every: float = TICK, apart: float = 0.0, **options: Any) -> None:
        self.every, self.apart, self._shown, self._changed = every, apart, 0.0, 0.0
        self._what = self._said = ""
        super().__init__(*args, **options)
        if not self.disable:
            _WATCH.look_at(self)

    @property
    def format_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = super().format_dict
        unknown = found["total"] is None and found["bar_format"] == LINE
        return found | ({"bar_format": BEGUN} if unknown else {})

    def refresh(self, *args: Any, **options: Any) -> bool | None:
        """Shows the bar if that is due, since progress and tqdm's own thread each ask for it."""
        now = time.time()
        if now - self._shown < self.apart:
            return None
        self._shown = now
        return self._show(*args, **options)

    def _show(self, nolock: bool = False, lock_args: Any = None) -> bool | None:
        """Of tqdm, which keeps the lock of all bars for ever if the stream cannot be written."""
        if nolock or lock_args:
            return super().refresh(nolock=nolock, lock_args=lock_args)
        with self.get_lock():
            return super().refresh(nolock=True)

    def doing(self, what: str) -> None:
        """Says behind the bar what is being done that does not move it; "" for nothing."""
        if what != self._what:
            self._what, self._changed = what, time.time()
            self.set_postfix_str(what, refresh=False)

    def close(self) -> None:
        if not self.disable:
            self.doing("")
            if self._shown:  # by the thread, which tqdm does not know of: it ends in a line too
                self.last_print_t = self.start_t + self.delay
        super().close()

    def tick(self, now: float) -> None:
        """Shows the bar if it has long not been, or has long not said what is being done."""
        if self.disable or now < self.start_t + self.delay:
            return
        silent = now - max(self.last_print_t, self._shown) >= self.every
        silent |= self.delay > 0 and self._shown == 0 and self.last_print_t == self.start_t
        unsaid = self._what not in ("", self._said) and now - self._changed >= QUIET
        if silent or unsaid:
            self._shown, self._said = now, self._what
            self._show()


class _Watch:
    """The thread that looks at the open bars."""

    def __init__(self) -> None:
        self._bars: weakref.WeakSet[Bar] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def look_at(self, bar: Bar) -> None:
        with self._lock:
            self._bars.add(bar)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(TICK)
            with self._lock:
                bars = [bar for bar in self._bars if not bar.disable]  # as closed ones are
                if not bars:
                    self._thread = None
                    return
            for bar in bars:
                with contextlib.suppress(OSError):  # nobody reads it any more
                    bar.tick(time.time())


_WATCH = _Watch()


def progress_bar(
    iterable: Iterable | None = None, desc: str = "", total: int | None = None, **options: Any
) -> Bar:
    """A bar on standard error; where that is no terminal, plain lines, SECONDS apart, and none of
    what is done within QUIET seconds.

    options: of tqdm.
    """
    stream = sys.stderr
    if not stream.isatty():
        options |= {"mininterval": SECONDS, "maxinterval": SECONDS, "every": SECONDS}
        options |= {"apart": SECONDS, "file": Lines(stream), "position": 0}
        # What does not stay is a part of another bar's work.
        delay = QUIET if options.get("leave", True) else SECONDS
        options = {"bar_format": LINE, "delay": delay} | options
    return Bar(iterable, desc, total, **{"unit": "step"} | options)


@contextlib.contextmanager
def busy(what: str, in_files: bool = True) -> Iterator[None]:
    """Inside, says what is being done and for how long, once that takes a moment."""
    terminal = sys.stderr.isatty()
    about: dict[str, Any] = {"delay": TICK if terminal else QUIET, "bar_format": BUSY}
    if not terminal and not in_files:
        about["disable"] = True
    with progress_bar(desc=what, leave=False, **about):
        yield


def bar_updater(bar: Bar) -> Progress:
    """A progress callback that moves a bar. Until it is called first, a program is compiled."""
    bar.doing("compiling")

    def update(done: int, steps: int) -> None:
        bar.doing("finishing" if done == steps else "")
        bar.total = steps
        bar.update(done - bar.n)

    return update


def part_of(progress: Progress, number: int, count: int) -> Progress:
    """The progress of part `number` of a work of `count` parts that are as long."""
    return lambda done, steps: progress(number * steps + done, count * steps)


class Pace:
    """How much to do before the next report of progress: what takes about PACE seconds.

    Attributes:
      rounds: of the next part; the first has one.
    """

    def __init__(self) -> None:
        self.rounds = 1

    def took(self, seconds: float) -> None:
        """Of the part that is done."""
        fitting = int(self.rounds * PACE / max(seconds, 1e-9))
        self.rounds = max(1, min(FASTER * self.rounds, fitting))
