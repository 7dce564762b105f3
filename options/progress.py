"""Progress of what takes long: a bar that moves in a terminal, a line now and then in a file."""

import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from tqdm import tqdm

SECONDS = 30.0  # between the lines in a file
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed}, {remaining} left, {rate_fmt}{postfix}"


class Lines:
    """A stream that makes a line of each state of a bar, in place of overwriting the last one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        if said := text.strip():
            self.stream.write(f"{said}\n")

    def flush(self) -> None:
        self.stream.flush()


def progress_bar(
    iterable: Iterable | None = None, desc: str = "", total: int | None = None, **options: Any
) -> tqdm:
    """A tqdm bar on standard error; where that is no terminal, plain lines, SECONDS apart.

    options: of tqdm.
    """
    stream = sys.stderr
    if not stream.isatty():
        options |= {"mininterval": SECONDS, "maxinterval": SECONDS}
        options |= {"file": Lines(stream), "bar_format": LINE, "position": 0}
        if not options.get("leave", True):  # a part of another bar's work
            options |= {"delay": SECONDS}
    return tqdm(iterable, desc, total, **{"unit": "step"} | options)


def bar_updater(bar: tqdm) -> Callable[[int, int], None]:
    """A progress callback that moves a tqdm bar."""

    def update(done: int, steps: int) -> None:
        bar.total = steps
        bar.update(done - bar.n)

    return update
