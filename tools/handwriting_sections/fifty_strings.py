"""How many of fifty strings come out wholly right, with and without a choice among candidates.

A string is written in a hand of the training, wrapped as `--mode write` wraps it, and right where
every line of it is read without an error. Each line has CANDIDATES candidates, and the best is
taken by one recogniser; only the others judge what it chose, since a recogniser that judged its own
choice would count its own mistakes as the model's merits.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from experiment.writing import Writer
from handwriting.medium import Medium, Trace
from handwriting.reading import RENDERINGS, best_lines, fifty, installed
from metrics.character_error import error_rate, one_spaced
from metrics.recognizers import Images, load
from options.choices import require
from options.errors import Words
from options.progress import bar_updater, progress_bar
from tools.handwriting_sections.section import Asked, as_table

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
        rows = self._rows(writer.experiment.medium, each, texts, owners)
        return as_table(f"{about}; sampled as configured", list(rows))

    def _written(
        self, writer: Writer, texts: Sequence[str], owners: np.ndarray
    ) -> list[list[Trace]]:
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
        self,
        medium: Medium,
        each: list[list[Trace]],
        texts: Sequence[str],
        owners: np.ndarray,
    ) -> Iterator[dict[str, str]]:
        """The first candidate, then the best by each recogniser, judged by the others."""
        readers = installed()
        for name in (name for name in RENDERINGS if name not in readers):
            print(f"no character error rate by {name}, which is not installed (make judges)")

        def judged(readers: Sequence[str], lines: Sequence[Trace]) -> dict[str, str]:
            images = {name: [medium.for_reader(name, line) for line in lines] for name in readers}
            return self._judged(images, texts, owners)

        yield {"candidates": "1"} | judged(readers, [candidates[0] for candidates in each])
        for name in readers:
            images = [[medium.for_reader(name, line) for line in lines] for lines in each]
            best = best_lines(name, images, texts)
            chosen = [lines[number] for lines, number in zip(each, best, strict=True)]
            others = [reader for reader in readers if reader != name]
            yield {"candidates": f"best of {CANDIDATES} by {name}"} | judged(others, chosen)

    def _judged(
        self, images: Mapping[str, Images], texts: Sequence[str], owners: np.ndarray
    ) -> dict[str, str]:
        """Strings wholly right, and the character error rate, by recognisers for each of which
        lines are drawn."""
        found = {}
        for name, lines in images.items():
            read = load(name)(lines)
            pairs = zip(read, texts, strict=True)
            wrong = np.array([one_spaced(a) != one_spaced(b) for a, b in pairs])
            total = int(owners.max()) + 1
            right = total - len(np.unique(owners[wrong]))
            rate = error_rate(read, texts)
            found[f"right, {name}"] = f"{right} of {total}"
            found[f"CER, {name}"] = f"{rate.rate:.3f} ± {rate.standard_error:.3f}"
        return found
