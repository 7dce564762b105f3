"""Summaries that are read late, so that the devices do not wait for the host.

A dispatch returns before its chunk of steps is computed. The summaries of chunk k are read when
chunks k + 1, ..., k + n are dispatched: while the host reads, logs and asks for data, the devices
have work. n is what takes a second at most, so that signals are answered about as soon as without.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

SECONDS = 1.0  # that the chunks in flight may take together

# (step before the chunk, its summaries, seconds that it took)
Read = Callable[[int, Mapping[str, np.ndarray], float], None]


@dataclass
class Late:
    """The chunks whose summaries are not read yet.

    Attributes:
      read: what is done with the summaries of a chunk, in order.
      most: chunks in flight beside the one whose summaries are read; 0: each is waited for.
    """

    read: Read
    most: int = 0
    _unread: deque[tuple[int, Any, float]] = field(default_factory=deque)
    _ahead: int = 0
    _last_read: float = 0.0

    def add(self, step: int, summaries: Any, began: float) -> None:
        """A chunk dispatched at `began`, by `time.monotonic`; reads what need not wait longer."""
        self._unread.append((step, summaries, began))
        self._read_to(self._ahead)

    def settle(self) -> None:
        """Reads all: every step that was dispatched is computed then, and has been checked."""
        self._read_to(0)

    def _read_to(self, left: int) -> None:
        while len(self._unread) > left:
            step, summaries, began = self._unread.popleft()
            on_host = jax.device_get(summaries)
            now = time.monotonic()
            seconds, self._last_read = now - max(began, self._last_read), now
            self._ahead = int(min(self.most, SECONDS / max(seconds, 1e-9)))
            self.read(step, on_host, seconds)
