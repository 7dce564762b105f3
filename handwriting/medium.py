"""What lines of writing are made of: movements of a pen (`pen_medium`), or ink (`ink_medium`).

A trace is what is written of one line, whatever it is made of. Whoever draws lines from a model,
judges them or sets them on a page takes a medium, and asks it for what depends on that.
"""

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from data.space import Space
from handwriting.page import Layout

Trace = Any  # rows (dx, dy, pen), or an image
Page = Any


class Medium(abc.ABC):
    """How lines of one kind are drawn from a model, seen, set and kept.

    Attributes:
      source: the data that have such lines, and `length_field` their field of the longest one.
      axis: of a state and of its mask, along the line.
      multiple: of which the drawn lengths are: a program is compiled for each.
      looks: how lines are drawn for the style network, for the names of what is kept of that.
    """

    source: ClassVar[str]
    length_field: ClassVar[str]
    axis: ClassVar[int]
    multiple: ClassVar[int]
    looks: ClassVar[Any]

    # Of a model's states.

    @abc.abstractmethod
    def shape(self, length: int) -> tuple[int, ...]:
        """Of a state of this length."""

    def mask(self, lengths: Int[np.ndarray, "b"], length: int) -> np.ndarray:
        """Of states padded to `length`, True where they are real."""
        real = np.arange(length) < lengths[:, None]
        shape = [1] * len(self.shape(length))
        shape[self.axis] = length
        return real.reshape(len(lengths), *shape)

    @abc.abstractmethod
    def traces(
        self, space: Space, x: np.ndarray, aux: Mapping[str, Array], lengths: Int[np.ndarray, "b"]
    ) -> list[Trace]:
        """Of states, and what else the network gave of each, without padding."""

    @abc.abstractmethod
    def states(self, space: Space, trace: Trace, length: int) -> Float[np.ndarray, "1 ..."]:
        """The state of a trace, padded."""

    # Of the data.

    @abc.abstractmethod
    def line(self, trace: Trace, text: str, writer: str) -> Any:
        """A line of the data of this kind, whose first field is the trace."""

    @abc.abstractmethod
    def write_lines(self, path: Path, about: str, lines: Sequence[Any]) -> None:
        """Keep lines in a file, as the data have them."""

    # To be looked at.

    @property
    @abc.abstractmethod
    def nothing(self) -> Trace:
        """The trace of an empty line."""

    @abc.abstractmethod
    def for_style(self, trace: Trace) -> UInt8[np.ndarray, "96 w"]:
        """As the style networks see it: black on white, cropped to the ink."""

    @abc.abstractmethod
    def for_reader(self, name: str, trace: Trace) -> UInt8[np.ndarray, "h w"]:
        """As the recogniser of this name reads it best."""

    @abc.abstractmethod
    def shown(self, trace: Trace) -> UInt8[np.ndarray, "h w"]:
        """As it is shown, all of one height."""

    # On a page.

    @abc.abstractmethod
    def page(self, lines: Sequence[Any], layout: Layout) -> Page:
        """Lines set on a page, of which one without a trace is left empty."""

    @abc.abstractmethod
    def check_out(self, path: str | Path) -> None:
        """InvalidValue for a name of a file that a page cannot be written to."""

    def keeps_spans(self, path: str | Path) -> bool:
        """Whether a file of this name holds which points write which character."""
        return False

    @abc.abstractmethod
    def save(self, path: str | Path, page: Page) -> None:
        """Write a page, whole or not at all."""
