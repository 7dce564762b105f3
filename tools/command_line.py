"""What the command lines of the tools share."""

import contextlib
from collections.abc import Iterator

import main
from options.errors import InvalidValue, UserError


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with one line and exit status 2 for a UserError raised inside.

    Every other exception is a fault of the program and keeps its traceback.
    """
    try:
        yield
    except UserError as error:
        main.fail(str(error))


def numbers(field: str, text: str) -> list[float]:
    """Numbers between commas, "" for none; InvalidValue with the field's name."""
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise InvalidValue(field, text, "numbers with commas between") from None
