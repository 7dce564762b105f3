"""Whether lines are distributed as real ones: Frechet and kernel distances and the Geometry Score
by sampler.

A is a set of held-out lines; what is written are the texts of another set B as large, in the style
of their writers. Each value compares A with what is written; beside it are values of A against real
sets, B and others as large that share no line with A, as mean and standard deviation over them.
All but the kernel distance, which is unbiased, depend on the number of lines, so no value means
anything beside one of another number.

*FID* and *KID* are of lines as images by the named network, padded with white: strokes drawn 96 px
high to 1400 px, ink as it is to the width of its data; *style* is the Frechet distance of the mean
features of the style network; *geometry*, of strokes alone, of the rows (dx, dy, pen), dx and dy
over their standard deviation, padded with 0.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from evaluation.handwriting import HandwritingSubject, Lines, styles_of, written
from handwriting.length import mean_style
from handwriting.render import STYLE, padded
from metrics.extractors import MissingWeights, load
from metrics.features import FeatureExtractor, extract
from metrics.fid import Moments, frechet_distance
from metrics.geometry_score import GeometryScore
from metrics.kid import kid
from options.choices import require
from options.errors import NotInstalled, Words
from tools.handwriting_sections.samplers import of_families
from tools.handwriting_sections.section import Asked, as_table, chosen_of, is_of_pen, real_lines
from tools.markdown import table

MOST_SETS = 5  # of real lines beside A
# Luhman and Luhman 2020, table 1: of 4,500 lines of IAM-OnDB, 1,000 draws, InceptionV3.
PUBLISHED = [
    ["real lines", "2.91", "5.4e-4"],
    ["algorithm 2", "7.10", "3.3e-3"],
    ["equation 9", "8.05", "2.7e-3"],
]


class Metric(NamedTuple):
    """What is kept of a set of lines, and distances of two such by the heads of their columns."""

    of: Callable[[Lines], Any]
    distances: Mapping[str, Callable[[Any, Any], float]]


@dataclass(frozen=True)
class Distributions:
    """A row a sampler, and one of real lines."""

    lines: ClassVar[int] = 150

    def __call__(self, asked: Asked, count: int) -> str:
        """See `Section`; InvalidValue where a split has fewer than twice as many lines."""
        split = asked.splits[0]
        subject = asked.writer(split).experiment.subject()
        sets = np.array_split(*equal_sets(subject, count))
        metrics = metrics_of(asked, subject, count)
        against = [metric.of(real_lines(subject, sets[0])) for metric in metrics]

        def distances(lines: Lines) -> dict[str, float]:
            found: dict[str, float] = {}
            for metric, real in zip(metrics, against, strict=True):
                kept = metric.of(lines)
                found |= {name: d(real, kept) for name, d in metric.distances.items()}
            return found

        reals = [distances(real_lines(subject, chosen)) for chosen in sets[1:]]
        rows = []
        for sampler in of_families(asked.samplers):
            writer = asked.writer(split, sampler.overrides)
            of = writer.experiment.subject()
            made, nfe = written(of, writer.params, sets[1], real_lines(of, sets[1]), 0)
            found = {name: f"{value:.3g}" for name, value in distances(made).items()}
            rows.append({"sampler": sampler.name, "evaluations": f"{nfe:.0f}"} | found)
        rows.append({"sampler": "real lines"} | spread(reals))
        about = f"{count} lines of {subject.held_out.name} and as many written"
        about += f"; real lines: {len(reals)} sets"
        if not is_of_pen(subject):
            return as_table(about, rows)
        about += f"; Geometry Score of {asked.draws} draws, 64 landmarks, gamma N / 5000 / 128"
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


def metrics_of(asked: Asked, subject: HandwritingSubject, count: int) -> list[Metric]:
    """Those of so many lines whose networks and packages there are; of others it is printed why
    not."""
    found: list[Metric] = []
    for name in asked.extractors:
        try:
            of = functools.partial(drawn_features, load(name), subject)
        except MissingWeights as error:
            print(f"no FID by {name}: {error}")
            continue
        found.append(Metric(of, {f"FID, {name}": frechet, f"KID, {name}": kernel}))
    if subject.extractor is not None:
        found.append(Metric(functools.partial(style_features, subject), {"style": frechet}))
    score = GeometryScore(draws=asked.draws)
    without = ""
    if not is_of_pen(subject):
        without = "it is of pen strokes"
    elif count < score.landmarks:
        without = f"{count} lines, and it has {score.landmarks} landmarks"
    else:
        try:
            score.lifetimes(np.random.default_rng(0).normal(size=(score.landmarks, 2)))
        except NotInstalled as error:
            without = str(error)
    if without:
        print(f"no Geometry Score: {without}")
        return found
    lifetimes = lambda lines: score.lifetimes(padded_rows(subject, lines))  # noqa: E731
    return [*found, Metric(lifetimes, {"geometry": lambda a, b: float(np.sum((a - b) ** 2))})]


def frechet(a: Float[np.ndarray, "n c"], b: Float[np.ndarray, "m c"]) -> float:
    """The Frechet distance of two sets of features."""
    return frechet_distance(Moments.of(a), Moments.of(b))


def kernel(a: Float[np.ndarray, "n c"], b: Float[np.ndarray, "m c"]) -> float:
    """The kernel distance of two sets of features."""
    return kid(b, a).value


def drawn_features(
    extractor: FeatureExtractor, subject: HandwritingSubject, lines: Lines
) -> Float[np.ndarray, "n c"]:
    """Of lines as images of one size."""
    images = padded([subject.medium.shown(line[0]) for line in lines], width_of(subject))
    grey = (np.repeat(image, extractor.channels, axis=-1) for image in images[..., None])
    return np.asarray(extract(extractor, grey, 16, len(lines)).features)


def width_of(subject: HandwritingSubject) -> int:
    """Of such images, px."""
    return STYLE.widest if is_of_pen(subject) else subject.lines.padded_rows


def style_features(subject: HandwritingSubject, lines: Lines) -> Float[np.ndarray, "n c"]:
    """The mean features of style."""
    return mean_style(styles_of(subject, lines))


def padded_rows(subject: HandwritingSubject, lines: Lines) -> Float[np.ndarray, "n coordinates"]:
    """Lines as points of one space; distances do not depend on how far they are padded."""
    std = subject.lines.std
    longest = max(len(line.offsets) for line in lines)
    found = np.zeros((len(lines), longest, 3))
    for row, line in zip(found, lines, strict=True):
        row[: len(line.offsets)] = line.offsets / [std, std, 1]
    return found.reshape(len(lines), -1)
