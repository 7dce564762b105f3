"""Ctrl-C: the program ends within about a second, with one line and exit status 130.

Python runs the handler of a signal between two of its own instructions, and the main thread may
compile, or wait for a disk, for minutes before its next one. So there are two parts: the handler
raises KeyboardInterrupt, by which files are closed and folders removed; and a thread, woken by the
signal itself, ends a program that is still there after PATIENCE. Whatever a program leaves on disk
is written whole or not at all, so that this harms nothing.

    with Interruptible():
        work()

A limit of CPU time (`ulimit -t`; SIGXCPU) is signalled to whichever thread runs, and in the machine
code of XLA's threads a handler's frame has corrupted memory. So all threads that begin inside leave
that signal to the one that waits for signals.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

STATUS = 128 + signal.SIGINT  # as a shell reports a program that a signal ended
PATIENCE = 1.0  # seconds
OF_THE_WATCH = {signal.SIGXCPU}  # signals that all threads leave to the one that waits


class Interruptible:
    """Inside, Ctrl-C ends the program. Of use in the main thread alone; elsewhere it does nothing.

    Where a handler of another owner stands meanwhile, as in a training loop that ends its step
    first, the first Ctrl-C is that owner's, and the second ends the program.
    """

    def __enter__(self) -> Self:
        self.interrupted = False
        self._here = threading.current_thread() is threading.main_thread()
        if self._here:
            self._woken, self._waking = socket.socketpair()
            self._waking.setblocking(False)
            self._fd = signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
            self._before = signal.signal(signal.SIGINT, self._handle)
            self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_WATCH)
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._here:
            return
        # What was interrupted may make something else of it.
        fault = kind is not None and kind is not SystemExit
        if kind is KeyboardInterrupt or (self.interrupted and fault):
            end()
        sys.unraisablehook = self._hook
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.signal(signal.SIGINT, self._before)
        signal.set_wakeup_fd(self._fd)
        self._waking.close()  # by which the thread ends

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if _imports(frame):
            end()
        self.interrupted = True
        raise KeyboardInterrupt

    def _unraisable(self, unraisable: Any) -> None:
        """Keeps quiet about a KeyboardInterrupt where none can be raised, as in a collection of
        garbage: the thread ends the program."""
        if unraisable.exc_type is not KeyboardInterrupt:
            self._hook(unraisable)

    def _watch(self) -> None:
        """In a thread: reads the numbers of the signals as they arrive."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_THE_WATCH)
        received = 0
        with self._woken:
            while number := self._woken.recv(1):
                if number[0] != signal.SIGINT:
                    continue
                received += 1
                if received > 1 or signal.getsignal(signal.SIGINT) == self._handle:
                    time.sleep(PATIENCE)
                    end()


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported, which has nothing to close, and whose C++ may abort on an
    exception."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def end() -> NoReturn:
    """Ends the program now, with one line for a user: nothing else of it is waited for."""
    with contextlib.suppress(Exception):  # a terminal that is gone
        sys.stdout.flush()
        # The line of a terminal may hold a progress bar, or the ^C itself.
        new_line = "\n" if sys.stderr.isatty() else ""
        print(f"{new_line}interrupted", file=sys.stderr, flush=True)
    os._exit(STATUS)
