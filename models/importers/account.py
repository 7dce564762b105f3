"""Every parameter of both sides accounted for: what is missing, left over, or of another shape."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from models.importers.call_order import Path
from options.errors import InvalidValue

MOST = 20  # problems that are said
Change = Callable[[np.ndarray], np.ndarray]


def from_torch(array: np.ndarray, rank: int) -> np.ndarray:
    """A weight in our order of axes, output channels last, of `rank` axes: matrices transposed, 1x1
    kernels as matrices; vectors as they are."""
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
        while array.ndim > rank and array.shape[0] == 1:
            array = array[0]
    elif array.ndim == 2:
        array = array.T
    return array


def to_torch(array: np.ndarray, is_conv: bool) -> np.ndarray:
    """The inverse of `from_torch`; `is_conv`: a matrix is a 1x1 kernel there."""
    if array.ndim == 2 and is_conv:
        array = array[None, None]
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif array.ndim == 2:
        array = array.T
    return np.ascontiguousarray(array)


def some_of(problems: Sequence[str]) -> str:
    """The first of the problems, and how many there are beside."""
    more = f"; and {len(problems) - MOST} more" if len(problems) > MOST else ""
    return "; ".join(problems[:MOST]) + more


class Account:
    """Our parameters, filled from theirs one after the other.

    Args:
      shapes: of ours, by path.
      theirs: arrays by name.
      buffers: endings of names that are no parameters.
    """

    def __init__(
        self,
        shapes: Mapping[Path, tuple[int, ...]],
        theirs: Mapping[str, np.ndarray],
        buffers: Collection[str] = (),
    ) -> None:
        self.shapes, self.theirs = shapes, theirs
        self._left = {name for name in theirs if not name.endswith(tuple(buffers) or "\0")}
        self._params: dict[Path, np.ndarray] = {}
        self._problems: list[str] = []

    def fill(self, path: Path, name: str, change: Change | None = None) -> None:
        """Our parameter from their array of that name; change: in place of a change of axes."""
        self._left.discard(name)
        if name not in self.theirs:
            self._problems.append(f"it lacks {name} for {'/'.join(path)}")
            return
        array, shape = np.asarray(self.theirs[name]), self.shapes[path]
        value = from_torch(array, len(shape)) if change is None else change(array)
        if value.shape != shape:
            self._problems.append(
                f"{name}: got shape {array.shape} for {'/'.join(path)}, expected {shape} of ours"
            )
        self._params[path] = np.ascontiguousarray(value, np.float32)

    def use(self, name: str) -> None:
        """Their array of that name is part of one that was filled."""
        self._left.discard(name)

    def params(self, what: str) -> dict[str, Any]:
        """The tree; InvalidValue, which names the parameters that do not fit, up to MOST."""
        problems = [f"{name} is unknown" for name in sorted(self._left)]
        problems += self._problems
        problems += [f"nothing is {'/'.join(p)}" for p in self.shapes if p not in self._params]
        if problems:
            raise InvalidValue("file", but=f"it is not of this {what}: {some_of(problems)}")
        return unflatten_dict(self._params)
