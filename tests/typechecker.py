"""The run-time type checker of the tests: beartype, which takes an int for a float."""

import functools
import inspect
from typing import Any

from beartype import BeartypeConf, beartype

DESCRIPTIONS = {"ArgInfo", "ShapeDtypeStruct"}  # of arrays, by JAX
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecked(annotated: Any) -> Any:
    """`annotated` with its arguments and result checked at every call.

    A function within a function is left as it is: it would be decorated anew whenever the outer one
    runs, which took a fifth of the time of tracing a network.
    """
    if "<locals>" in annotated.__qualname__:
        return annotated
    checked = _check(annotated)
    return _but_of_arrays_alone(annotated, checked) if inspect.isfunction(annotated) else checked


def _but_of_arrays_alone(function: Any, checked: Any) -> Any:
    """The checked function, but where JAX, lowering a program, makes an object of descriptions of
    arrays in the place of its arrays."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        described = any(type(x).__name__ in DESCRIPTIONS for x in (*args, *kwargs.values()))
        return (function if described else checked)(*args, **kwargs)

    return run
