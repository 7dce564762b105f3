"""Words that the training's texts have, against words that they have not.

Texts of held-out lines are written in the style of another line by the same writer. A line counts
as *unseen* where it has a word, letters and digits as they are written, that no text of the
training split has. *Of real* is the character error rate over that of the real lines of the same
texts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from evaluation.handwriting import OF_REAL, Lines, legibility_of, written
from tools.handwriting_sections.section import Asked, as_table, cells, chosen_of
from tools.handwriting_sections.writers import ratios

WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Words:
    """Two rows for either kind of lines: what is written, and the real ones."""

    lines: ClassVar[int] = 150

    def __call__(self, asked: Asked, count: int) -> str:
        """See `Section`."""
        writer = asked.writer(asked.splits[0])
        subject, train = writer.experiment.subject(), next(writer.experiment.each_split())
        chosen, real = chosen_of(subject, count)
        made, _ = written(subject, writer.params, chosen, real, 0)
        new = with_new_words([line.text for line in real], train.texts)
        rows: list[dict[str, str]] = []
        for words, here in (("all seen", ~new), ("one or more unseen", new)):
            if not here.any():
                continue
            of_made = legibility_of(subject.medium, of(made, here))
            of_real = legibility_of(subject.medium, of(real, here), OF_REAL)
            first = {"words": words, "lines": f"{here.sum()} written"} | cells(of_made)
            second = {"words": words, "lines": f"{here.sum()} real"} | cells(of_real)
            rows += [first | ratios(of_made, of_real), second]
        about = f"{len(real)} lines of {subject.held_out.name}; sampled as configured"
        return as_table(about, rows)


def with_new_words(texts: Iterable[str], known: Iterable[str]) -> Bool[np.ndarray, "n"]:
    """Which texts have a word that none of the known ones has."""
    words = set(WORD.findall(" ".join(known)))
    return np.array([not words.issuperset(WORD.findall(text)) for text in texts], bool)


def of(lines: Lines, here: Bool[np.ndarray, "n"]) -> Lines:
    """Those of the lines that are marked."""
    return [line for line, marked in zip(lines, here, strict=True) if marked]
