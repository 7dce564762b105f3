"""What the sections of a report on a model of handwriting share."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from jaxtyping import Int

from evaluation.handwriting import OF_REAL, HandwritingSubject, Lines, legibility_of, style_of
from experiment.pipeline import load_writer
from experiment.writing import Writer
from handwriting.pen_medium import PenMedium
from handwriting.reading import RENDERINGS
from metrics.report import Figure
from options.choices import require
from options.errors import InvalidValue, Words
from tools.handwriting_sections.samplers import FAMILIES
from tools.markdown import table

# Heads of columns, by the names of figures.
HEADS = {
    "character error rate": "CER",
    "read without error": "right",
    "nearest is of the writer": "writer",
    "nearest": "writer",
    "Frechet distance of style": "style",
}


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a report is of.

    Attributes:
      weights: exported weights, or a workdir.
      strokes: a file of lines; empty: that of the model's configuration.
      splits: of that file, the first by writers of the training, the last by others.
      lines: of a section; 0 for its own number. draws: of the Geometry Score.
      extractors: of `metrics.extractors`, whose Frechet distances are wanted.
      samplers: families of samplers that are compared, see `samplers.of_families`.
    """

    weights: str
    strokes: str = ""
    splits: tuple[str, ...] = ("test", "new_writers")
    lines: int = 0
    draws: int = 100
    extractors: tuple[str, ...] = ("efficientnet_lite0", "inception")
    samplers: tuple[str, ...] = FAMILIES

    def writer(self, split: str = "", changes: Mapping[str, Any] | None = None) -> Writer:
        """The model, judged on the lines of a split; by default on those of its configuration."""
        of_split = {"data.eval_split": split} if split else {}
        of_file = {"data.source.path": self.strokes} if self.strokes else {}
        return load_writer(self.weights, of_file | of_split | dict(changes or {}))


class Section(Protocol):
    """A table.

    Attributes:
      lines: how many are written by default, which takes about five minutes of a CPU.
    """

    lines: ClassVar[int]

    def __call__(self, asked: Asked, count: int) -> str:
        """The table in Markdown, of so many lines, with a line that says how it was made."""
        ...


def chosen_of(
    subject: HandwritingSubject, count: int, seed: int = 0
) -> tuple[Int[np.ndarray, "n"], Lines]:
    """Held-out lines at random, all if there are fewer: their numbers, and the lines."""
    total = len(subject.held_out)
    require(total >= 2, "split", Words(f"{total} lines of {subject.held_out.name}"), "at least 2")
    chosen = np.random.default_rng(seed).permutation(total)[:count]
    return chosen, real_lines(subject, chosen)


def real_lines(subject: HandwritingSubject, chosen: Int[np.ndarray, "n"]) -> Lines:
    """Held-out lines by their numbers."""
    return [subject.lines.line(int(i)) for i in subject.numbers[chosen]]


def cells(figures: Sequence[Figure]) -> dict[str, str]:
    """The figures by the heads of their columns."""
    found: dict[str, str] = {}
    for figure in figures:
        head = HEADS[figure.name.removesuffix(OF_REAL)]
        by = f", {figure.extractor}" if figure.extractor in RENDERINGS else ""
        error = "" if figure.standard_error is None else f" ± {figure.standard_error:.3f}"
        found[head + by] = f"{figure.value:.3f}{error}"
    return found


def real_figures(subject: HandwritingSubject, real: Lines) -> list[Figure]:
    """Of real lines, what is measured of written ones."""
    of_style = style_of(subject, real, real, 0)
    return legibility_of(subject.medium, real, OF_REAL) + [f for f in of_style if OF_REAL in f.name]


def is_of_pen(subject: HandwritingSubject) -> bool:
    """Whether the model writes movements of a pen."""
    return subject.medium.source == PenMedium.source


def require_pen(subject: HandwritingSubject, section: str) -> None:
    """InvalidValue for a model of something else than movements of a pen."""
    if not is_of_pen(subject):
        but = f"it is of pen strokes, and the model writes {subject.medium.source}"
        raise InvalidValue("sections", section, but=but)


def as_table(about: str, rows: Sequence[Mapping[str, str]]) -> str:
    """Rows by the heads of their columns, in the order in which these are met first."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    return f"{about}\n\n{table(heads, [[row.get(head, '') for head in heads] for row in rows])}\n"
