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
from experiment.hands import Hand, Hands
from experiment.handwriting import HandwritingExperiment
from handwriting import alignment
from handwriting.drawing import Span
from handwriting.medium import Medium, Page, Trace
from handwriting.reading import best_lines
from handwriting.wrapping import wrapped
from handwriting.writing import Asked, alignments
from options.choices import require
from options.errors import Words, within
from options.progress import Progress
from tasks.conditions import ClassLabel, Text, find


class Order(NamedTuple):
    """What a user asks to be written.

    Attributes:
      text: with newlines where lines are to end. style: a hand, see `experiment.hands`; "" for any.
      out: the file, of an ending that says its kind.
    """

    text: str
    style: str
    out: str

    def check(self, medium: Medium) -> None:
        """InvalidValue for an order without a text, or a file that lines of this kind cannot be
        written to."""
        require(self.text.strip(), "text", Words("nothing"), "something to write")
        with within("", path="out"):
            medium.check_out(self.out)


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
        return Hands(
            experiment.writers, experiment.each_split, experiment.extractor, experiment.medium
        )

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
    ) -> list[Any]:
        """Lines of writing, one for each text, the best of `write.candidates`; an empty one has an
        empty trace. NotInstalled where there are several candidates and nothing that reads them."""
        filled, options = [text for text in texts if text], self.experiment.options.write
        medium, hands = self.experiment.medium, [hand] * len(filled)
        each = self.candidates(filled, hands, options.candidates, seed, progress)
        best = [0] * len(each)
        if options.candidates > 1:
            images = [[medium.for_reader(options.reader, t) for t in traces] for traces in each]
            best = best_lines(options.reader, images, filled)
        chosen = iter([traces[number] for traces, number in zip(each, best, strict=True)])
        written = [next(chosen) if text else medium.nothing for text in texts]
        return [medium.line(t, text, hand.name) for t, text in zip(written, texts, strict=True)]

    def candidates(
        self,
        texts: Sequence[str],
        hands: Sequence[Hand],
        count: int,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[list[Trace]]:
        """So many lines of writing for each text, none of which is empty, in its hand."""
        asked = self._asked(
            [text for text in texts for _ in range(count)],
            [hand for hand in hands for _ in range(count)],
        )
        predict, key = self.experiment.guided(self.params), jax.random.key(seed)
        made = self.experiment.scribe.write(predict, key, asked, progress=progress).traces
        return [made[first : first + count] for first in range(0, len(made), count)]

    def _asked(self, texts: Sequence[str], hands: Sequence[Hand]) -> Asked:
        longest = max(map(len, texts))
        tokens = np.stack([self.alphabet.encode(text, longest) for text in texts])
        label: ClassLabel | None = find(self.experiment.conditions, ClassLabel.name)
        for hand in hands:
            by_style = label is None or (hand.style is not None and label.dropout > 0)
            known = "a writer of the training lines, whom the model knows by number"
            require(by_style or self.experiment.knows(hand.label), "style", hand.name, known)
        styled = hands[0].style is not None
        styles = np.stack([hand.style for hand in hands]) if styled else None
        labels = np.array([hand.label for hand in hands], np.int32)
        return self.experiment.asked(tokens, labels, styles)

    def alignment(self, line: Any, hand: Hand) -> Float[np.ndarray, "points characters"]:
        """Which points, or columns, of a written line attend to which of its characters."""
        experiment, medium = self.experiment, self.experiment.medium
        asked = self._asked([line.text], [hand])
        points = line[0].shape[medium.axis]
        asked = dataclasses.replace(asked, lengths=np.array([points]))
        padded = int(experiment.scribe.padded(asked.lengths)[0])
        x_0 = medium.states(experiment.space, line[0], padded)
        cond = asked.conditioning(np.array([0]), medium, padded)
        predict = experiment.sampled(self.params)
        return alignments(predict, experiment.process, x_0, cond, medium.axis)[0, :points]

    def page(self, lines: Sequence[Any], hand: Hand, *, with_spans: bool = True) -> Page:
        """Lines set on a page, as `write.layout` says; with the points of each character, which
        the network is asked for, if that is wanted of strokes."""
        drawing = self.experiment.medium.page(lines, self.experiment.options.write.layout)
        spans, start = [], 0
        if not (with_spans and hasattr(drawing, "spans")):
            return drawing
        for line in lines:
            if line.text:
                found = alignment.spans(self.alignment(line, hand), line.text)
                spans += [Span(s.char, s.start + start, s.end + start) for s in found]
            start += len(line.offsets)
        return dataclasses.replace(drawing, spans=tuple(spans))

    def save(self, page: Page, out: str | Path) -> None:
        """The file of a page."""
        self.experiment.medium.save(out, page)
