"""The run-time type checker of the tests: beartype, which takes an int for a float."""

from typing import Any

from beartype import BeartypeConf, beartype

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecked(annotated: Any) -> Any:
    """`annotated` with its arguments and result checked at every call.

    A function within a function is left as it is: it would be decorated anew whenever the outer one
    runs, which took a fifth of the time of tracing a network.
    """
    return annotated if "<locals>" in annotated.__qualname__ else _check(annotated)
