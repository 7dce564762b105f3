"""How many of fifty strings come out wholly right, with and without a choice among candidates.

A string is written in a hand of the training, wrapped as `--mode write` wraps it, and right where
every line of it is read without an error. Each line has CANDIDATES candidates, and the best is
taken by one recogniser; only the others judge what it chose, since a recogniser that judged its own
choice would count its own mistakes as the model's merits.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from experiment.writing import Writer
from handwriting.preprocessing import Rows
from handwriting.reading import best_lines, drawn_for, fifty
from metrics.character_error import error_rate, one_spaced
from metrics.recognizers import load
from options.choices import require
from options.errors import Words
from options.progress import bar_updater, progress_bar
from tools.handwriting_sections.section import Asked, as_table, installed

CANDIDATES = 4
HANDS = 10  # the strings are dealt out to


@dataclasses.dataclass(frozen=True)
class FiftyStrings:
    """A row without a choice, and one for each recogniser that chooses."""

    lines: ClassVar[int] = 50

    def __call__(self, asked: Asked, count: int) -> str:
        """See `Section`; count: of the strings, as many as there are."""
        writer = asked.writer()
        known = set(writer.alphabet.characters)
        strings = [string for string in fifty() if set(string) <= known][:count]
        expected = "some of characters that the model has learned"
        require(strings, "strings", Words("none of the fifty"), expected)
        wrapped = [writer.lines(string) for string in strings]
        texts = [line for lines in wrapped for line in lines]
        owners = np.repeat(np.arange(len(strings)), [len(lines) for lines in wrapped])
        each = self._written(writer, texts, owners)
        about = f"{len(strings)} strings in {len(texts)} lines, by {min(HANDS, len(strings))} hands"
        return as_table(f"{about}; sampled as configured", list(self._rows(each, texts, owners)))

    def _written(
        self, writer: Writer, texts: Sequence[str], owners: np.ndarray
    ) -> list[list[Rows]]:
        """The candidates of each line."""
        train = next(writer.experiment.each_split())
        seen = np.array(train.class_names)[np.unique(train.writers)]
        names = seen[np.linspace(0, len(seen) - 1, min(HANDS, len(seen))).astype(int)]
        of_train = dataclasses.replace(writer.hands, sources=lambda: [train])
        hands = [of_train(str(name)) for name in names]
        with progress_bar(desc="write") as bar:
            theirs = [hands[owner % len(hands)] for owner in owners]
            return writer.candidates(texts, theirs, CANDIDATES, progress=bar_updater(bar))

    def _rows(
        self, each: list[list[Rows]], texts: Sequence[str], owners: np.ndarray
    ) -> Iterator[dict[str, str]]:
        """The first candidate, then the best by each recogniser, judged by the others."""
        readers = list(installed())
        yield {"candidates": "1"} | self._judged(readers, [c[0] for c in each], texts, owners)
        for name in readers:
            best = best_lines(name, [drawn_for(name, lines) for lines in each], texts)
            chosen = [lines[number] for lines, number in zip(each, best, strict=True)]
            others = [reader for reader in readers if reader != name]
            found = self._judged(others, chosen, texts, owners)
            yield {"candidates": f"best of {CANDIDATES} by {name}"} | found

    def _judged(
        self, readers: Sequence[str], lines: list[Rows], texts: Sequence[str], owners: np.ndarray
    ) -> dict[str, str]:
        """Strings wholly right, and the character error rate, by each of some recognisers."""
        found = {}
        for name in readers:
            read = load(name)(drawn_for(name, lines))
            pairs = zip(read, texts, strict=True)
            wrong = np.array([one_spaced(a) != one_spaced(b) for a, b in pairs])
            total = int(owners.max()) + 1
            right = total - len(np.unique(owners[wrong]))
            rate = error_rate(read, texts)
            found[f"right, {name}"] = f"{right} of {total}"
            found[f"CER, {name}"] = f"{rate.rate:.3f} ± {rate.standard_error:.3f}"
        return found
