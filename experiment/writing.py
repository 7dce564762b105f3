"""Writing a text with a trained model: lines, a page, a file."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from data.alphabet import Alphabet
from data.strokes import Line
from experiment.hands import Hand, Hands
from experiment.handwriting import HandwritingExperiment
from handwriting import alignment, formats
from handwriting.drawing import Drawing, Span
from handwriting.page import page
from handwriting.preprocessing import Rows
from handwriting.reading import best_lines
from handwriting.wrapping import wrapped
from handwriting.writing import MULTIPLE, Asked, alignments
from options.choices import require
from options.errors import Words, within
from options.progress import Progress
from tasks.conditions import ClassLabel, Text, find


class Order(NamedTuple):
    """What a user asks to be written.

    Attributes:
      text: with newlines where lines are to end. style: a hand, see `experiment.hands`; "" for any.
      out: the file, of an ending of `handwriting.formats.FORMATS`.
    """

    text: str
    style: str
    out: str

    def check(self) -> None:
        """InvalidValue for an order without a text or with a file of no known kind."""
        require(self.text.strip(), "text", Words("nothing"), "something to write")
        with within("", path="out"):
            formats.format_of(self.out)


@dataclasses.dataclass(frozen=True, eq=False)
class Writer:
    """A trained model of handwriting that writes.

    Attributes:
      params: of its network, averaged.
    """

    experiment: HandwritingExperiment
    params: Any

    @functools.cached_property
    def alphabet(self) -> Alphabet:
        """The characters that it was trained on."""
        return Alphabet(find(self.experiment.conditions, Text.name).characters)

    @functools.cached_property
    def hands(self) -> Hands:
        """The writers of its data, and what sees the styles of others."""
        experiment = self.experiment
        styled = experiment.style is not None
        extractor = experiment.options.style.extractor.load() if styled else None
        return Hands(experiment.writers, experiment.each_split, extractor)

    def lines(self, text: str) -> list[str]:
        """The lines that a text is written in, none longer than `write.wrap`.

        InvalidValue for no text, characters that the model has not learned, or a word that is
        longer than a line without `write.split`.
        """
        require(text.strip(), "text", Words("nothing"), "something to write")
        self.alphabet.encode(text.replace("\n", ""))
        options = self.experiment.options.write
        with within("write", width="wrap"):
            return wrapped(text, options.wrap, split=options.split)

    def write(
        self, texts: Sequence[str], hand: Hand, seed: int = 0, progress: Progress | None = None
    ) -> list[Line]:
        """Lines of writing, one for each text, the best of `write.candidates`; an empty one has no
        rows. NotInstalled where there are several candidates and nothing that reads them."""
        filled, options = [text for text in texts if text], self.experiment.options.write
        hands = [hand] * len(filled)
        each = self.candidates(filled, hands, options.candidates, seed, progress)
        best = [0] * len(each)
        if options.candidates > 1:
            best = best_lines(options.reader, each, filled)
        chosen = iter([lines[number] for lines, number in zip(each, best, strict=True)])
        empty = np.zeros((0, 3), np.float32)
        return [Line(next(chosen) if text else empty, text, hand.name) for text in texts]

    def candidates(
        self,
        texts: Sequence[str],
        hands: Sequence[Hand],
        count: int,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[list[Rows]]:
        """So many lines of writing for each text, none of which is empty, in its hand."""
        asked = self._asked(
            [text for text in texts for _ in range(count)],
            [hand for hand in hands for _ in range(count)],
        )
        predict, key = self.experiment.guided(self.params), jax.random.key(seed)
        made = self.experiment.scribe.write(predict, key, asked, progress=progress).rows
        return [made[first : first + count] for first in range(0, len(made), count)]

    def _asked(self, texts: Sequence[str], hands: Sequence[Hand]) -> Asked:
        longest = max(map(len, texts))
        tokens = np.stack([self.alphabet.encode(text, longest) for text in texts])
        if find(self.experiment.conditions, ClassLabel.name) is not None:
            for hand in hands:
                known = "a writer of the data, whom the model knows"
                require(hand.label >= 0, "style", hand.name, known)
        styled = hands[0].style is not None
        styles = np.stack([hand.style for hand in hands]) if styled else None
        labels = np.array([hand.label for hand in hands], np.int32)
        return self.experiment.asked(tokens, labels, styles)

    def alignment(self, line: Line, hand: Hand) -> Float[np.ndarray, "points characters"]:
        """Which points of a written line attend to which of its characters."""
        experiment, points = self.experiment, len(line.offsets)
        lengths = np.array([points])
        asked = dataclasses.replace(self._asked([line.text], [hand]), lengths=lengths)
        padded = -(-points // MULTIPLE) * MULTIPLE
        x_0 = np.zeros((1, padded, 2), np.float32)
        x_0[0, :points] = experiment.space.encode(line.offsets)[:, :2]
        cond = asked.conditioning(np.array([0]), padded)
        predict = experiment.sampled(self.params)
        return alignments(predict, experiment.process, x_0, cond)[0, :points]

    def page(self, lines: Sequence[Line], hand: Hand, *, with_spans: bool = True) -> Drawing:
        """Lines set on a page, as `write.layout` says, with the points of each character, which
        the network is asked for, if that is wanted."""
        drawing, spans, start = page(lines, self.experiment.options.write.layout), [], 0
        if not with_spans:
            return drawing
        for line in lines:
            if line.text:
                found = alignment.spans(self.alignment(line, hand), line.text)
                spans += [Span(s.char, s.start + start, s.end + start) for s in found]
            start += len(line.offsets)
        return dataclasses.replace(drawing, spans=tuple(spans))

    def save(self, drawing: Drawing, out: str | Path) -> None:
        """The file of a page, as `write.look` says."""
        formats.write(out, drawing, self.experiment.options.write.look)
