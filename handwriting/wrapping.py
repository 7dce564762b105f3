"""Text in lines that are not too wide: whole words, as many in a line as there is room for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from data.strokes import Line
from options.choices import require, require_positive
from options.errors import Words

RIDGE = 3.0  # lines' worth of evidence that a character is as wide as all are on average


def wrapped(
    text: str, width: float, measure: Callable[[str], float] = len, split: bool = True
) -> list[str]:
    """Lines of a text of which none measures more than `width`.

    Lines end where the text has a newline (an empty line stays one), and else between words, which
    are put into one line, with single spaces, as long as they fit. A word that is wider than a line
    begins a line of its own and is cut wherever that is full, without a hyphen; the text without
    its white space is the same as before. With `split` false such a word is InvalidValue.

    measure: of a line, in the unit of `width`; by default characters. A longer line may not measure
      less.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if measure(longer) <= width:
                line = longer
                continue
            lines += [line] if line else []
            *full, line = _cut(word, width, measure, split)
            lines += full
        lines.append(line)
    return lines


def _cut(word: str, width: float, measure: Callable[[str], float], split: bool) -> list[str]:
    """A word in parts, each as long as fits."""
    parts = [""]
    for character in word:
        if measure(parts[-1] + character) > width and parts[-1]:
            parts.append("")
        parts[-1] += character
        got = Words(f"{width:g}, narrower than {parts[-1]!r}")
        require(measure(parts[-1]) <= width, "width", got, "room for every character")
    require(split or len(parts) == 1, "width", Words(f"{width:g}"), f"room for the word {word!r}")
    return parts


@dataclass(frozen=True)
class Widths:
    """How wide text is: the sum of its characters' widths.

    Attributes:
      usual: of a character that `of` lacks.
      of: by character.
    """

    usual: float
    of: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_positive(self, "usual")

    def __call__(self, text: str) -> float:
        return sum(self.of.get(character, self.usual) for character in text)

    @classmethod
    def fitted(cls, lines: Iterable[Line]) -> "Widths":
        """To written lines, in their units: the least-squares fit of the extents of their ink.

        Towards the usual width, the more so the rarer a character is; none is less than 0.
        InvalidValue where there is no line with a text.
        """
        lines = [line for line in lines if line.text]
        require(lines, "lines", Words("none with a text"), "at least one")
        extents = np.array([np.ptp(np.cumsum(line.offsets[:, 0])) for line in lines])
        characters = sorted(set("".join(line.text for line in lines)))
        counts = np.array([[line.text.count(c) for c in characters] for line in lines], float)
        usual = float(extents.sum() / counts.sum())
        normal = counts.T @ counts + RIDGE * np.eye(len(characters))
        beyond = np.linalg.solve(normal, counts.T @ (extents - usual * counts.sum(1)))
        widths = np.maximum(usual + beyond, 0)
        return cls(usual, dict(zip(characters, map(float, widths), strict=True)))
