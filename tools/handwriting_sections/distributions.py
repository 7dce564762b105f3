"""Whether lines are distributed as real ones: the Frechet distance and the Geometry Score by
sampler.

A is a set of held-out lines; what is written are the texts of another set B as large, in the style
of their writers. Each value compares A with what is written; beside it are values of A against real
sets, B and others as large that share no line with A, as mean and standard deviation over them:
both metrics depend on the number of lines, so no value means anything beside one of another number.

*FID* is of lines drawn 96 px high, padded with white to 1400 px, by the named network; *style* of
the mean features of the style network; *geometry* of the rows (dx, dy, pen), dx and dy over their
standard deviation, padded with 0.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from data.strokes import Line
from evaluation.handwriting import HandwritingSubject, written
from handwriting.length import mean_style
from handwriting.render import STYLE
from handwriting.style import StyleExtractor
from metrics.extractors import MissingWeights, load
from metrics.features import FeatureExtractor, extract
from metrics.fid import Moments, frechet_distance
from metrics.geometry_score import GeometryScore
from options.choices import require
from options.errors import NotInstalled, Words
from tools.handwriting_sections.samplers import SAMPLERS
from tools.handwriting_sections.section import Asked, as_table, chosen_of, real_lines, require_pen
from tools.markdown import table

MOST_SETS = 5  # of real lines beside A
# Luhman and Luhman 2020, table 1: of 4,500 lines of IAM-OnDB, 1,000 draws, InceptionV3.
PUBLISHED = [
    ["real lines", "2.91", "5.4e-4"],
    ["algorithm 2", "7.10", "3.3e-3"],
    ["equation 9", "8.05", "2.7e-3"],
]
# What is kept of a set of lines, and the distance of two such.
Metric = tuple[Callable[[Sequence[Line]], Any], Callable[[Any, Any], float]]


@dataclass(frozen=True)
class Distributions:
    """A row a sampler, and one of real lines."""

    lines: ClassVar[int] = 150

    def __call__(self, asked: Asked, count: int) -> str:
        """See `Section`; InvalidValue where a split has fewer than twice as many lines."""
        split = asked.splits[0]
        subject = asked.writer(split).experiment.subject()
        require_pen(subject, "distributions")
        sets = np.array_split(*equal_sets(subject, count))
        metrics = metrics_of(asked, subject, count)
        against = {name: of(real_lines(subject, sets[0])) for name, (of, _) in metrics.items()}

        def distances(lines: Sequence[Line]) -> dict[str, float]:
            return {name: d(against[name], of(lines)) for name, (of, d) in metrics.items()}

        reals = [distances(real_lines(subject, chosen)) for chosen in sets[1:]]
        rows = []
        for sampler in SAMPLERS:
            writer = asked.writer(split, sampler.overrides)
            of = writer.experiment.subject()
            made, nfe = written(of, writer.params, sets[1], real_lines(of, sets[1]), 0)
            found = {name: f"{value:.3g}" for name, value in distances(made).items()}
            rows.append({"sampler": sampler.name, "evaluations": f"{nfe:.0f}"} | found)
        rows.append({"sampler": "real lines"} | spread(reals))
        about = f"{count} lines of {subject.held_out.name} and as many written"
        about += f"; Geometry Score of {asked.draws} draws, 64 landmarks, gamma N / 5000 / 128"
        about += f"; real lines: {len(reals)} sets"
        paper = table(["Luhman and Luhman 2020, table 1, IAM-OnDB", "FID", "geometry"], PUBLISHED)
        return f"{as_table(about, rows)}\n{paper}\n"


def equal_sets(subject: HandwritingSubject, count: int) -> tuple[np.ndarray, int]:
    """Lines of 2 to 1 + MOST_SETS sets of that size, and how many sets."""
    total = len(subject.held_out)
    sets = min(total // count, 1 + MOST_SETS)
    got = Words(f"{count} of {total} lines of {subject.held_out.name}")
    require(sets >= 2, "lines", got, f"at most {total // 2}, half of them")
    return chosen_of(subject, sets * count)[0], sets


def spread(values: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Mean and standard deviation of each metric; the value alone where there is one."""
    found = {}
    for name in values[0]:
        each = [value[name] for value in values]
        error = f" ± {np.std(each, ddof=1):.2g}" if len(each) > 1 else ""
        found[name] = f"{np.mean(each):.3g}{error}"
    return found


def metrics_of(asked: Asked, subject: HandwritingSubject, count: int) -> dict[str, Metric]:
    """Those of so many lines whose networks and packages there are; of others it is printed why
    not."""
    found: dict[str, Metric] = {}
    for name in asked.extractors:
        try:
            found[f"FID, {name}"] = functools.partial(drawn_moments, load(name)), frechet_distance
        except MissingWeights as error:
            print(f"no FID by {name}: {error}")
    if subject.extractor is not None:
        moments = functools.partial(style_moments, subject.extractor)
        found["style"] = moments, frechet_distance
    score = GeometryScore(draws=asked.draws)
    if count < score.landmarks:
        print(f"no Geometry Score: {count} lines, and it has {score.landmarks} landmarks")
        return found
    try:
        score.lifetimes(np.random.default_rng(0).normal(size=(score.landmarks, 2)))
    except NotInstalled as error:
        print(f"no Geometry Score: {error}")
        return found
    lifetimes = lambda lines: score.lifetimes(padded_rows(subject, lines))  # noqa: E731
    found["geometry"] = lifetimes, lambda a, b: float(np.sum((a - b) ** 2))
    return found


def drawn_moments(extractor: FeatureExtractor, lines: Sequence[Line]) -> Moments:
    """Of lines as images of one size."""
    images = (STYLE.batch([line.offsets], STYLE.widest)[0, ..., None] for line in lines)
    channels = extractor.channels
    grey = (np.repeat(image, channels, axis=-1) for image in images)
    return Moments.of(np.asarray(extract(extractor, grey, 16, len(lines)).features))


def style_moments(extractor: StyleExtractor, lines: Sequence[Line]) -> Moments:
    """Of the mean features of style."""
    return Moments.of(mean_style(extractor([STYLE(line.offsets) for line in lines])))


def padded_rows(
    subject: HandwritingSubject, lines: Sequence[Line]
) -> Float[np.ndarray, "n coordinates"]:
    """Lines as points of one space; distances do not depend on how far they are padded."""
    std = subject.lines.std
    longest = max(len(line.offsets) for line in lines)
    found = np.zeros((len(lines), longest, 3))
    for row, line in zip(found, lines, strict=True):
        row[: len(line.offsets)] = line.offsets / [std, std, 1]
    return found.reshape(len(lines), -1)
