"""Signals as a flag that a loop reads when it can stop cleanly."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


class Interrupts:
    """Inside, SIGTERM sets `received`, and so does SIGXCPU, of a limit of CPU time. So does
    the first SIGINT, from `finish_steps` on, and a second SIGINT interrupts at once.

    Before there is anything to save, while data are read and programs are compiled, a SIGINT is
    that of whoever called: by default a KeyboardInterrupt.

    Attributes:
      received: the number of the signal, 0 for none.
      alone: whether this is the only process of the run. Several stop together, after the same
        step, so that in each of them every signal sets `received`.
    """

    def __init__(self, alone: bool = True) -> None:
        self.received = 0
        self.alone = alone
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        self._take(signal.SIGTERM)
        self._take(signal.SIGXCPU)
        if not self.alone:
            self._take(signal.SIGINT)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            # A limit of CPU time is signalled every second from then on, and what was said of it
            # once is enough: what is left to be done is little.
            again = number == self.received == signal.SIGXCPU
            signal.signal(number, signal.SIG_IGN if again else handler)

    def finish_steps(self) -> None:
        """From here on a SIGINT waits for the step that is being computed."""
        self._take(signal.SIGINT)

    @contextlib.contextmanager
    def at_once(self, saved: bool = True) -> Iterator[None]:
        """Inside, if the state is saved, a SIGINT ends what is being done and sets `received`."""
        before = self._before.get(signal.SIGINT)
        if before is None or not (saved and self.alone):
            yield
            return
        signal.signal(signal.SIGINT, before)
        try:
            yield
        except KeyboardInterrupt:
            self.received = signal.SIGINT
        finally:
            signal.signal(signal.SIGINT, self._note)

    def _take(self, number: int) -> None:
        if number not in self._before:
            self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        if number == signal.SIGINT and self.received:
            raise KeyboardInterrupt
        self.received = number
