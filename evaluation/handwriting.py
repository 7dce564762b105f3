"""Evaluation of a model of handwriting: checkpoints -> figures, and the lines that it wrote.

    <report>/report.json        figures
    <report>/lines.png          some of the lines, each with its text
    <shared>/written.npz        all of them, as `data.strokes` has lines

Loss is of held-out lines. Texts of held-out lines are written in the style of their writers and
compared with the lines themselves: by recognisers of text, where they are installed, and by the
style network. Each figure of written lines stands beside the same one of the real lines.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from data import Source, StrokeSource, Transform
from data.strokes import Line, write
from evaluation.examples import Examples, Losses
from evaluation.options import check_checkpoints
from evaluation.places import Places
from handwriting.length import mean_style
from handwriting.reading import RENDERINGS, legibility
from handwriting.render import STYLE
from handwriting.style import StyleExtractor
from handwriting.writer_recognition import nearest
from handwriting.writing import Asked, Scribe, picture
from metrics.fid import Moments, frechet_distance
from metrics.report import Figure, Report
from options.choices import MOST_SAMPLES, require_count, require_non_negative
from options.errors import NotInstalled
from options.fields import hidden
from options.memory import AUTO, Batched
from options.progress import bar_updater, busy, progress_bar
from parameterization import Predictor
from storage.pictures import write_png
from tasks.strokes import StrokeTask
from tasks.task import Context

PyTree = Any
MOST = 64  # lines at once
SHOWN = 12
WRITTEN, UNIT = "written.npz", 1 / 256
OF_REAL = " of real lines"  # behind the names of their figures
PROTOCOL = "words"  # of `metrics.character_error.PROTOCOLS`


@dataclasses.dataclass(frozen=True)
class HandwritingEvalOptions(Batched):
    """On how many lines a model of handwriting is judged.

    Attributes:
      checkpoints: "latest", "all", or step numbers with commas between them.
      batch_size: lines at once that get a loss; no figure depends on it; "auto": MOST.
      max_lines: that get a loss; 0 for all that are held out.
      num_lines: that are written and judged; 0 for none.
    """

    checkpoints: str = "latest"
    batch_size: str | int = AUTO
    max_lines: int = 0
    num_lines: int = 200
    seed: int = hidden(0)

    def __post_init__(self) -> None:
        check_checkpoints(self.checkpoints)
        self.at_once  # noqa: B018  its own check
        require_non_negative(self, "max_lines")
        require_count("num_lines", self.num_lines, 0, MOST_SAMPLES)


@dataclasses.dataclass(frozen=True, eq=False)
class HandwritingSubject:
    """What is evaluated, and on what: everything but parameters.

    Attributes:
      lines, numbers: the held-out lines, and which of `lines` they are.
      asked: for what is asked of some held-out lines by their numbers.
      sampled: the predictor of parameters. extractor: what sees styles; None for none.
    """

    task: StrokeTask
    held_out: Source
    lines: StrokeSource
    numbers: Int[np.ndarray, "n"]
    transform: Transform
    scribe: Scribe
    asked: Callable[[Int[np.ndarray, "n"]], Asked]
    sampled: Callable[[PyTree], Predictor]
    extractor: StyleExtractor | None = None


def evaluate(
    subject: HandwritingSubject,
    params: PyTree,
    step: int,
    options: HandwritingEvalOptions,
    places: Places,
) -> Report:
    """The report of these parameters, which is also left in its place."""
    held_out = subject.held_out.name
    figures = [_loss(subject, params, options)]
    if options.num_lines:
        count = min(options.num_lines, len(subject.held_out))
        chosen = np.random.default_rng(options.seed).permutation(len(subject.held_out))[:count]
        real = [subject.lines.line(int(i)) for i in subject.numbers[chosen]]
        made, evaluations = written(subject, params, chosen, real, options.seed)
        about = f"lines of {held_out}"
        write(places.report / WRITTEN, f"written, of {about}", {"train": made}, UNIT)
        shown = made[:SHOWN]
        drawn = picture([line.offsets for line in shown], [line.text for line in shown])
        write_png(places.report / "lines.png", drawn)
        figures += legibility_of(made, evaluations=evaluations)
        figures += legibility_of(real, OF_REAL)
        figures += style_of(subject.extractor, made, real, evaluations)
    report = Report({"step": step, "held_out": held_out}, figures)
    report.write(places.report / "report.json")
    return report


def _loss(subject: HandwritingSubject, params: PyTree, options: HandwritingEvalOptions) -> Figure:
    """Of held-out lines, all conditions given."""
    examples = Examples(subject.held_out, subject.transform.for_evaluation(), options.seed)
    count = min(options.max_lines or len(examples), len(examples))
    size = min(options.at_once or MOST, count)
    losses, found = Losses(subject.task), []
    with progress_bar(total=count, desc="loss", unit="line") as bar:
        for first in range(0, count, size):
            numbers = np.minimum(np.arange(first, first + size), len(examples) - 1)
            values = losses(Context(params), examples, numbers)["loss"]
            found.append(np.asarray(values)[: count - first])
            bar.update(len(found[-1]))
    return Figure.mean("loss", np.concatenate(found), reference=subject.held_out.name)


def written(
    subject: HandwritingSubject,
    params: PyTree,
    chosen: Int[np.ndarray, "n"],
    real: Sequence[Line],
    seed: int,
) -> tuple[list[Line], float]:
    """The texts of real lines as the model writes them; evaluations of a line."""
    with progress_bar(desc="write") as bar:
        made = subject.scribe.write(
            subject.sampled(params),
            jax.random.key(seed),
            subject.asked(chosen),
            progress=bar_updater(bar),
        )
    rows = zip(made.rows, real, strict=True)
    return [Line(offsets, line.text, line.writer) for offsets, line in rows], made.nfe


def legibility_of(
    lines: Sequence[Line], of: str = "", evaluations: float | None = None
) -> list[Figure]:
    """Character error rates by every recogniser that is installed, and lines without an error.

    of: what the lines are, put behind the names of figures.
    """
    figures, texts = [], [line.text for line in lines]
    for name in RENDERINGS:
        try:
            with busy(f"{name} reads{of}"):
                found = legibility(name, [line.offsets for line in lines], texts)[PROTOCOL]
        except NotInstalled as error:
            print(f"no character error rate by {name}: {error}")
            continue
        about: dict[str, Any] = {"extractor": name, "evaluations": evaluations}
        rate = f"character error rate{of}"
        figures += [
            Figure(rate, found.rate, found.lines, found.standard_error, **about),
            Figure(f"read without error{of}", found.perfect, found.lines, **about),
        ]
    return figures


def style_of(
    extractor: StyleExtractor | None, made: list[Line], real: list[Line], evaluations: float
) -> list[Figure]:
    """Whether written lines look like their writers', and like real lines on the whole."""
    if extractor is None:
        return []
    writers = np.array([line.writer for line in real])
    with busy("looking at styles"):
        written, theirs = (
            extractor([STYLE(line.offsets) for line in lines]) for lines in (made, real)
        )
    about: dict[str, Any] = {"extractor": extractor.identity, "evaluations": evaluations}
    right = nearest(written, writers, theirs, writers)
    distance = frechet_distance(Moments.of(mean_style(written)), Moments.of(mean_style(theirs)))
    n = len(made)
    return [
        Figure("nearest is of the writer", right, n, reference="the real lines", **about),
        Figure(f"nearest{OF_REAL}", nearest(theirs, writers), n, extractor=extractor.identity),
        Figure("Frechet distance of style", distance, n, reference="the real lines", **about),
    ]
