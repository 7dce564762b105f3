"""What every program does for whoever started it: errors, warnings and Ctrl-C are a line each."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import NoReturn

from options.errors import InvalidValue, UserError
from options.interrupts import Interruptible

TRUE = {"1", "t", "true", "y", "yes", "on"}  # as JAX reads its environment


def fail(message: str) -> NoReturn:
    """Ends with one line for a user and exit status 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with one line: for a UserError with exit status 2, for Ctrl-C with 130.

    Warnings are lines too, see `plain_warnings`. Every other exception is a fault of the program
    and keeps its traceback.
    """
    with Interruptible(), plain_warnings():
        try:
            require_float32()
            yield
        except UserError as error:
            fail(str(error))


def require_float32() -> None:
    """InvalidValue where the environment asks JAX for double precision."""
    double = os.environ.get("JAX_ENABLE_X64", "")
    if double.lower() in TRUE:
        but = "all here is in float32"
        raise InvalidValue("JAX_ENABLE_X64", double, "it unset", but)


class PlainLines(logging.Handler):
    """Log records of WARNING and above on standard error, above a progress bar if there is one,
    without the module, time and thread that they are from."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm  # only where there is something to say

        said = "error" if record.levelno >= logging.ERROR else "warning"
        tqdm.write(f"{said}: {record.getMessage()}", file=sys.stderr)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Inside, what is logged or warned of is written as `PlainLines`."""
    root, handlers, before = logging.root, logging.root.handlers[:], warnings.formatwarning
    root.handlers = [PlainLines(), *(h for h in handlers if not _of_terminal(h))]
    warnings.formatwarning = _plain
    try:
        yield
    finally:
        root.handlers, warnings.formatwarning = handlers, before


def _of_terminal(handler: logging.Handler) -> bool:
    """Whether a handler is one that modules install where they find none."""
    return getattr(handler, "stream", None) in (sys.stdout, sys.stderr)


def _plain(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    return f"warning: {message}\n"
