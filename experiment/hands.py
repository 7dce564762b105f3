"""Hands to write in, as a user names them: writers of the data, photographs of a line, mixtures.

annie/1                     a writer of the data, by name
my_hand.png                 a photograph of a line
a.png,b.png                 the mean of several
annie/1@3,my_hand.png@1     three parts of one, one of the other: between two hands
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from handwriting.medium import Medium
from handwriting.pen_medium import PenMedium
from handwriting.photo import style_picture
from handwriting.render import STYLE
from handwriting.style import StyleExtractor
from options.choices import did_you_mean, require
from options.errors import InvalidValue

PEN = PenMedium()
FIELD = "style"  # what the user gives


class Hand(NamedTuple):
    """A hand.

    Attributes:
      name: as the user gave it. style: its features; None for a model without.
      label: number of the writer, for a model conditioned on it; -1 where it is none of the data.
    """

    name: str
    style: Float[np.ndarray, "places features"] | None
    label: int


@dataclasses.dataclass(frozen=True, eq=False)
class Hands:
    """Hands by name.

    Attributes:
      names: of all writers of the data.
      sources: of lines by them, in which one is looked for in turn; read when one is asked for.
      extractor: of the style; None for a model that is conditioned on the writer alone.
      medium: of the lines.
    """

    names: tuple[str, ...]
    sources: Callable[[], Iterable[Any]]
    extractor: StyleExtractor | None
    medium: Medium = PEN

    def __call__(self, spec: str, seed: int = 0) -> Hand:
        """A hand as the user gives it, "" for a writer by the seed; InvalidValue for what is none.

        seed: chooses the line from which the style of a writer is taken.
        """
        spec = spec or self._any(seed)
        parts = [part.strip() for part in spec.split(",")]
        found = [self._part(part, spec, seed) for part in parts]
        if self.extractor is None:
            require(len(found) == 1, FIELD, spec, "one writer, as the model knows them by number")
            return found[0][0]._replace(name=spec)
        weights = np.array([weight for _, weight in found])
        styles = np.stack([hand.style for hand, _ in found])
        mean = np.einsum("p,pnc->nc", weights / weights.sum(), styles).astype(np.float32)
        return Hand(spec, mean, found[0][0].label)

    def _any(self, seed: int) -> str:
        """A writer, of whom there is a line where the model needs one."""
        if self.extractor is None:
            return self.names[seed % len(self.names)]
        at_hand = np.unique(np.concatenate([source.writers for source in self.sources()]))
        return self.names[at_hand[seed % len(at_hand)]]

    def _part(self, part: str, spec: str, seed: int) -> tuple[Hand, float]:
        """One hand of a mixture, and its weight."""
        name, _, weight = part.rpartition("@")
        name, weight = (name, weight) if name else (part, "1")
        try:
            number = float(weight)
        except ValueError:
            number = 0.0
        require(0 < number < np.inf, FIELD, spec, "numbers above 0 behind @")
        if name in self.names:
            return self._of_writer(name, seed), number
        if self.extractor is not None and Path(name).is_file():
            return Hand(name, self._of_images([style_picture(name, STYLE.widest)]), -1), number
        expected = f"a writer of the data, or an image file{did_you_mean(name, self.names)}"
        raise InvalidValue(FIELD, name, expected)

    def _of_writer(self, name: str, seed: int) -> Hand:
        label = self.names.index(name)
        if self.extractor is None:
            return Hand(name, None, label)
        for source in self.sources():
            lines = np.flatnonzero(source.writers == label)
            if len(lines):
                line = int(lines[np.random.default_rng(seed).integers(len(lines))])
                return Hand(
                    name, self._of_images([self.medium.for_style(source.line(line)[0])]), label
                )
        raise InvalidValue(FIELD, name, but="no line of this writer is at hand")

    def _of_images(self, images: Sequence[Any]) -> Float[np.ndarray, "places features"]:
        assert self.extractor is not None
        return self.extractor(images)[0]
