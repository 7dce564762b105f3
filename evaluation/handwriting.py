"""Evaluation of a model of handwriting: checkpoints -> figures, and the lines that it wrote.

    <report>/report.json        figures
    <report>/lines.png          some of the lines, each with its text
    <report>/written.npz        all of them, as the data have lines

Loss is of held-out lines. Texts of held-out lines are written in the style of their writers and
compared with the lines themselves: by recognisers of text, where they are installed, and by the
style network. Each figure of written lines stands beside the same one of the real lines: of these
lines where it needs no others, otherwise of as many other held-out lines against them.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float32, Int

from data import Source, Transform
from evaluation.examples import Examples, Losses
from evaluation.options import check_checkpoints
from evaluation.places import Places
from handwriting.length import mean_style
from handwriting.medium import Medium
from handwriting.reading import RENDERINGS, installed, legibility
from handwriting.style import StyleExtractor
from handwriting.writer_recognition import nearest
from handwriting.writing import Asked, Scribe, picture
from metrics.fid import Moments, frechet_distance
from metrics.kid import kid
from metrics.report import Figure, Report
from options.choices import MOST_SAMPLES, require_count, require_non_negative
from options.errors import NotInstalled
from options.fields import hidden
from options.memory import AUTO, Batched
from options.progress import bar_updater, busy, progress_bar
from parameterization import Predictor
from storage.pictures import write_png
from tasks.image import ImageTask
from tasks.task import Context

PyTree = Any
Lines = Sequence[Any]  # of whatever medium
MOST = 64  # lines at once
SHOWN = 12
WRITTEN = "written.npz"
OF_REAL = " of real lines"  # behind the names of their figures
OF_OTHERS = " of other real lines"  # likewise
FEWEST = 4  # lines that have a kernel distance
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
      lines, numbers: the held-out lines, and which of `lines` they are. medium: what they are of.
      asked: for what is asked of some held-out lines by their numbers.
      sampled: the predictor of parameters. extractor: what sees styles; None for none.
    """

    task: ImageTask
    held_out: Source
    lines: Any
    medium: Medium
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
        medium = subject.medium
        medium.write_lines(places.report / WRITTEN, f"written, of {about}", made)
        shown = made[:SHOWN]
        drawn = picture([medium.shown(line[0]) for line in shown], [line.text for line in shown])
        write_png(places.report / "lines.png", drawn)
        figures += legibility_of(medium, made, evaluations=evaluations)
        figures += legibility_of(medium, real, OF_REAL)
        figures += style_of(subject, made, real, evaluations)
        figures += distances_of(subject, made, real, evaluations, options.seed)
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
    real: Lines,
    seed: int,
) -> tuple[list[Any], float]:
    """The texts of real lines as the model writes them; evaluations of a line."""
    with progress_bar(desc="write") as bar:
        made = subject.scribe.write(
            subject.sampled(params),
            jax.random.key(seed),
            subject.asked(chosen),
            progress=bar_updater(bar),
        )
    traces = zip(made.traces, real, strict=True)
    return [subject.medium.line(t, line.text, line.writer) for t, line in traces], made.nfe


def legibility_of(
    medium: Medium, lines: Lines, of: str = "", evaluations: float | None = None
) -> list[Figure]:
    """Character error rates by every recogniser that is installed, and lines without an error.

    of: what the lines are, put behind the names of figures.
    """
    figures, texts = [], [line.text for line in lines]
    for name in RENDERINGS:
        try:
            with busy(f"{name} reads{of}"):
                images = [medium.for_reader(name, line[0]) for line in lines]
                found = legibility(name, images, texts)[PROTOCOL]
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
    subject: HandwritingSubject, made: Lines, real: Lines, evaluations: float
) -> list[Figure]:
    """Whether written lines look like their writers', and like real lines on the whole."""
    extractor = subject.extractor
    if extractor is None:
        return []
    writers = np.array([line.writer for line in real])
    written, theirs = (styles_of(subject, lines) for lines in (made, real))
    about: dict[str, Any] = {"extractor": extractor.identity, "evaluations": evaluations}
    right = nearest(written, writers, theirs, writers)
    distance = frechet_distance(Moments.of(mean_style(written)), Moments.of(mean_style(theirs)))
    n = len(made)
    return [
        Figure("nearest is of the writer", right, n, reference="the real lines", **about),
        Figure(f"nearest{OF_REAL}", nearest(theirs, writers), n, extractor=extractor.identity),
        Figure("Frechet distance of style", distance, n, reference="the real lines", **about),
    ]


def distances_of(
    subject: HandwritingSubject, made: Lines, real: Lines, evaluations: float, seed: int
) -> list[Figure]:
    """The kernel distance of written lines to real ones, and both distances of as many other
    held-out lines, as far as there are so many."""
    extractor = subject.extractor
    if extractor is None:
        return []
    rest = np.random.default_rng(seed).permutation(len(subject.numbers))[len(real) :][: len(real)]
    others = [subject.lines.line(int(i)) for i in subject.numbers[rest]]
    theirs = mean_style(styles_of(subject, real))
    about: dict[str, Any] = {"reference": "the real lines", "extractor": extractor.identity}
    figures: list[Figure] = []
    for lines, of in ((made, ""), (others, OF_OTHERS)):
        if min(len(lines), len(real)) < FEWEST:
            continue
        found, n = mean_style(styles_of(subject, lines)), len(lines)
        kernel = kid(found, theirs)
        of_lines = about | ({} if of else {"evaluations": evaluations})
        name, error = f"kernel distance of style{of}", kernel.standard_error
        figures.append(Figure(name, kernel.value, n, error, **of_lines))
        if of:
            distance = frechet_distance(Moments.of(found), Moments.of(theirs))
            figures.append(Figure(f"Frechet distance of style{of}", distance, n, **about))
    return figures


def styles_of(subject: HandwritingSubject, lines: Lines) -> Float32[np.ndarray, "n parts c"]:
    """What the style network, which there is, sees in lines."""
    assert subject.extractor is not None
    with busy("looking at styles"):
        return subject.extractor([subject.medium.for_style(line[0]) for line in lines])


@dataclasses.dataclass(frozen=True, eq=False)
class ReadWhileTraining:
    """The character error rate of held-out texts as the averaged parameters write them, with the
    same noise at every step; see `training.measurements.Measurement`.

    Attributes:
      readers: names of recognisers. count: lines.
    """

    subject: HandwritingSubject
    readers: tuple[str, ...]
    seed: int
    every: int
    count: int
    field: ClassVar[str] = "training.read_every"
    is_heavy: ClassVar[bool] = True

    @property
    def metric(self) -> str:
        """See `Measurement`."""
        return f"character_error_{self.readers[0]}"

    @property
    def about(self) -> str:
        """See `Measurement`."""
        by = " and ".join(self.readers)
        return f"the character error rate of {self.count} written lines, by {by}"

    def __call__(self, context: Context, at_once: int) -> dict[str, float]:
        """The rate by each reader; as many lines are drawn at once as anywhere."""
        subject, medium = self.subject, self.subject.medium
        numbers = np.random.default_rng(self.seed).permutation(len(subject.numbers))[: self.count]
        real = [subject.lines.line(int(i)) for i in subject.numbers[numbers]]
        made, _ = written(subject, jax.device_put(context.params), numbers, real, self.seed)
        texts, found = [line.text for line in real], {}
        for name in self.readers:
            images = [medium.for_reader(name, line[0]) for line in made]
            found[f"character_error_{name}"] = legibility(name, images, texts)[PROTOCOL].rate
        return found


def reading(subject: HandwritingSubject, seed: int, every: int, count: int) -> list[Any]:
    """`ReadWhileTraining` by the recognisers that are installed; none, which is said, without."""
    readers = installed()
    if not readers:
        print("no character error rate while training: no recogniser is installed (make judges)")
        return []
    return [
        ReadWhileTraining(subject, tuple(readers), seed, every, min(count, len(subject.numbers)))
    ]
