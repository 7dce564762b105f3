"""Writers that a model was trained on, against writers whom it has never seen.

Of each split texts of held-out lines are written in the style of another line by the same writer.
*Of real* is the character error rate over that of the real lines of the same texts by the same
writers; *named* how often the classifier of writers names the writer, where it knows him.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evaluation.handwriting import OF_REAL, Lines, legibility_of, style_of, written
from experiment.writing import Writer
from handwriting.writer_recognition import recognised
from metrics.report import Figure
from tools.handwriting_sections.section import (
    HEADS,
    Asked,
    as_table,
    cells,
    chosen_of,
    real_figures,
)

RATE = "character error rate"


@dataclass(frozen=True)
class Writers:
    """Two rows a split: what is written, and the real lines."""

    lines: ClassVar[int] = 150

    def __call__(self, asked: Asked, count: int) -> str:
        """See `Section`."""
        rows: list[dict[str, str]] = []
        for split in asked.splits:
            writer = asked.writer(split)
            subject = writer.experiment.subject()
            chosen, real = chosen_of(subject, count)
            made, evaluations = written(subject, writer.params, chosen, real, 0)
            figures = legibility_of(subject.medium, made)
            figures += style_of(subject, made, real, evaluations)
            of_made = [figure for figure in figures if OF_REAL not in figure.name]
            of_real = real_figures(subject, real)
            relative = ratios(of_made, of_real)
            first = {"split": split, "lines": f"{len(made)} written"} | cells(of_made) | relative
            second = {"split": split, "lines": f"{len(real)} real"} | cells(of_real)
            rows += [first | named(writer, made), second | named(writer, real)]
        return as_table(f"splits {', '.join(asked.splits)}; sampled as configured", rows)


def ratios(made: Sequence[Figure], real: Sequence[Figure]) -> dict[str, str]:
    """Character error rates over those of real lines, by recogniser."""
    floor = {f.extractor: f.value for f in real if f.name == RATE + OF_REAL}
    return {
        f"{HEADS[RATE]} over real, {f.extractor}": f"{f.value / floor[f.extractor]:.2f}"
        for f in made
        if f.name == RATE and floor[f.extractor]
    }


def named(writer: Writer, lines: Lines) -> dict[str, str]:
    """How often the classifier names the writer, where it was trained on the training's writers."""
    experiment = writer.experiment
    extractor = experiment.extractor
    if extractor is None:
        return {}
    train = next(experiment.each_split())
    known = np.array(train.class_names)[np.unique(train.writers)]
    writers = np.array([line.writer for line in lines])
    logits = extractor.activations([experiment.medium.for_style(line[0]) for line in lines]).logits
    if logits.shape[1] != len(known) or not np.isin(writers, known).all():
        return {}
    return {"named": f"{recognised(logits, known, writers):.3f}"}
