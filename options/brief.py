"""Results with arrays in a few words, for whoever prints them."""

from typing import Any

MOST = 12  # numbers that are shown; of a larger array its type and shape


def brief(result: Any, *without: str) -> str:
    """A NamedTuple less these fields and what is None; of large arrays type and shape."""
    fields = {k: v for k, v in result._asdict().items() if v is not None and k not in without}
    parts = ", ".join(f"{name}={_shown(value)}" for name, value in fields.items())
    return f"{type(result).__name__}({parts})"


def _shown(value: Any) -> str:
    if not hasattr(value, "shape"):
        return repr(value)
    return f"{value.dtype} {value.shape}" if value.size > MOST else str(value)
