"""Errors that a user can mend: a field, what was got and what was expected.

`UserError` is what the command line shows in one line; every other exception is a fault of the
program and keeps its traceback. A class checks its own fields and names them as it knows them
("sigma_min"); whoever makes it from a configuration puts the section's name before ("process.")
by `within`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any


class Words(str):
    """A description that stands for a value in a message, without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


UNSAID = Words("")


class UserError(Exception):
    """field: got, expected. What a user can mend; the base of the five kinds below.

    Args:
      field: dotted name of the field, the flag or the file that is at fault.
      got: what was found there, shown by repr; `Words` for a description; left out if unsaid.
      expected: what would have done, as in "a number in [0, 1)".
      but: in place of `expected`, what the value stands against, as in "the data have 3 channels".
    """

    def __init__(self, field: str, got: Any = UNSAID, expected: str = "", but: str = "") -> None:
        super().__init__(field)
        self.field, self.got, self.expected, self.but = field, got, expected, but

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.field, self.got, self.expected, self.but)

    def __str__(self) -> str:
        parts = [f"got {self.got!r}" if self.got is not UNSAID else ""]
        parts += [f"but {self.but}" if self.but and parts[0] else self.but]
        parts += [f"expected {self.expected}" if self.expected else ""]
        said = ", ".join(part for part in parts if part)
        return f"{self.field}: {said}" if self.field else said


class InvalidValue(UserError, ValueError):
    """A value that cannot work."""


class NotFinite(UserError, FloatingPointError):
    """A loss, a gradient or a sample that is no longer finite."""


class StorageError(UserError, OSError):
    """A file or folder that is missing, damaged or cannot be written."""


class OutOfMemory(UserError, MemoryError):
    """A batch that does not fit."""


class NotInstalled(UserError, ImportError):
    """An optional package that what was asked for needs."""


@contextlib.contextmanager
def within(section: str, **names: str) -> Iterator[None]:
    """Puts `section.` before the field of a UserError raised inside.

    names: what a field of the class is called in the section, where that differs.
    """
    try:
        yield
    except UserError as error:
        field = names.get(error.field, error.field)
        error.field = ".".join(part for part in (section, field) if part)
        raise
