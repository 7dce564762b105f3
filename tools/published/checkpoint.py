"""What every layout of published models has: a checkpoint that was read, and what is made of it."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from options.errors import InvalidValue, StorageError
from tools.published.content import Content, array_of

AVERAGE, RAW = "average", "raw"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a user adds where a file does not say it.

    Attributes:
      image_size: height of the images; 0 for what the file says.
      process: of `sde_lib.PROCESSES`; empty for what the file says.
    """

    image_size: int = 0
    process: str = ""


class Compared(NamedTuple):
    """An output of theirs that was recorded, and ours for the same input."""

    name: str
    ours: np.ndarray
    theirs: np.ndarray

    @property
    def error(self) -> float:
        """The largest difference, relative to the largest value."""
        if self.ours.shape != self.theirs.shape:
            got = f"{self.name} of shape {self.theirs.shape}"
            raise InvalidValue("expected", got, but=f"ours is {self.ours.shape}")
        return float(np.abs(self.ours - self.theirs).max() / np.abs(self.theirs).max())


class Checkpoint(ABC):
    """A model of another implementation, read from a file.

    Attributes:
      title: of the layout, for a user.
      step: the updates after which it was saved; 0 where the file does not say.
      notes: what was assumed, a line each; filled by `sections`.
    """

    title: ClassVar[str]
    step: int = 0

    def __init__(self) -> None:
        self.notes: list[str] = []

    @classmethod
    @abstractmethod
    def recognise(cls, content: Content) -> "Checkpoint | None":
        """The checkpoint, None where the file is of another layout."""

    @abstractmethod
    def sections(self, asked: Asked) -> dict[str, Any]:
        """Our configuration: network, process, parameterization, data and sampling."""

    @abstractmethod
    def params(self, which: str, experiment: Any) -> dict[str, Any]:
        """The parameters of the experiment's network; which: AVERAGE or RAW.

        InvalidValue names every tensor that is missing, unknown or of another shape.
        """

    def inexact(self, experiment: Any) -> str:
        """Why outputs differ though all parameters fit; empty where they do not."""
        return ""

    @abstractmethod
    def compared(
        self, experiment: Any, params: Any, given: Mapping[str, np.ndarray]
    ) -> list[Compared]:
        """Our outputs beside those that were recorded; InvalidValue where `given` lacks them."""


class RawAndAverage(Checkpoint):
    """A checkpoint of parameters by name, and of their moving average.

    Args:
      raw, average: parameters by name; None where the file has no average.
      sigmas: the noise levels, from the most to the least; None where they are not in the file.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        average: Mapping[str, Any] | None,
        step: int,
        sigmas: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.raw, self.average, self.step, self.sigmas = raw, average, step, sigmas

    def arrays(self, which: str) -> dict[str, np.ndarray]:
        """The parameters by name; which: AVERAGE or RAW. InvalidValue for an average that the file
        does not have."""
        chosen = self.average if which == AVERAGE else self.raw
        if chosen is None:
            raise InvalidValue("params", which, "raw", but="the file has no averaged parameters")
        return {name: array_of(value) for name, value in chosen.items()}


def one_of(given: Mapping[str, np.ndarray], *names: str) -> np.ndarray:
    """The first of these entries; InvalidValue where there is none."""
    for name in names:
        if name in given:
            return given[name]
    raise InvalidValue("expected", sorted(given), f"an entry {' or '.join(names)}")


def channels_last(x: np.ndarray, channels: int) -> np.ndarray:
    """(b, c, h, w) as (b, h, w, c); what has its channels last already as it is."""
    return np.moveaxis(x, 1, -1) if x.ndim == 4 and x.shape[1] == channels else x


def network_output(
    experiment: Any, params: Any, x: np.ndarray, c_noise: np.ndarray, **cond: Any
) -> np.ndarray:
    """F(x_in, c_noise) of the network without dropout, x in the range of the data."""
    task = experiment.task.for_evaluation()
    centred = 2 * x - 1 if task.parameterization.centre_input else x
    inputs = jnp.asarray(centred, jnp.float32), jnp.asarray(c_noise, jnp.float32)
    out = jax.jit(task.network.apply)({"params": params}, *inputs, **cond)
    return np.asarray(out)


def count_of(value: Any) -> int:
    """A step; StorageError for anything but a count."""
    value = np.asarray(value)
    if value.shape or value.dtype.kind not in "iu" or not 0 <= int(value) < 2**63:
        raise StorageError("file", but=f"its step is {value!r}, not a count")
    return int(value)
