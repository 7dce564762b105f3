"""Compares two sets of lines of pen strokes: their writers, styles and distributions.

    python -m tools.compare_handwriting --strokes GENERATED --against REAL --lines 1500
    python -m tools.compare_handwriting --strokes REAL --halves          real against real

Printed are: how often the writer classifier names the writer of a line, and the real line with the
nearest style features is by the same one; the Frechet distance of style features, means over the
line; and with --draws the Geometry Score of the padded rows (dx, dy, pen), dx and dy over their
standard deviation. All but the first depend on the number of lines: compare values of equal
numbers, beside those of real against real.
"""

import argparse
import json
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from data.strokes import Strokes, StrokeSource
from handwriting import style
from handwriting.line_features import activations
from handwriting.writer_recognition import nearest, recognised
from metrics.fid import Moments, frechet_distance
from metrics.geometry_score import GeometryScore
from options.choices import require
from options.errors import Words
from options.program import one_line_errors


@dataclass(frozen=True)
class Lines:
    """Lines of a set, and what the style network finds in them."""

    rows: Float[np.ndarray, "n points 3"]
    writers: Shaped[np.ndarray, "n"]
    found: style.StyleActivations

    @staticmethod
    def of(source: StrokeSource, chosen: Int[np.ndarray, "n"]) -> "Lines":
        """Those of some numbers."""
        rows = np.asarray(source.take(chosen)["image"]) / np.array([source.std, source.std, 1])
        names = np.array(source.class_names)[source.writers[chosen]]
        return Lines(rows, names, activations(source, style.load(), chosen))

    @property
    def means(self) -> Float[np.ndarray, "n c"]:
        """Style features as a mean over each line."""
        return np.asarray(self.found.features).mean(axis=1)


def report(lines: Lines, real: Lines, known: Shaped[np.ndarray, " known"], draws: int) -> dict:
    """The figures. known: names of the classifier's writers. draws: of the Geometry Score, or 0."""
    distance = frechet_distance(Moments.of(lines.means), Moments.of(real.means))
    found = {"lines": len(lines.rows), "real": len(real.rows), "frechet": distance}
    theirs = real.found.features, real.writers
    found["nearest"] = nearest(lines.found.features, lines.writers, *theirs)
    for name, some in (("recognised", lines), ("recognised_real", real)):
        if np.isin(some.writers, known).all():
            found[name] = recognised(some.found.logits, known, some.writers)
    if draws:
        points = [some.rows.reshape(len(some.rows), -1) for some in (lines, real)]
        found["geometry"] = GeometryScore(draws=draws)(*points)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strokes", default="", help="a file of lines; the embedded ones")
    parser.add_argument("--split", default="test")
    parser.add_argument("--against", default="", help="real lines; the embedded ones")
    parser.add_argument("--against_split", default="train")
    parser.add_argument(
        "--halves", action="store_true", help="two halves of --split in their place"
    )
    parser.add_argument("--lines", type=int, default=1500, help="of each, at most")
    parser.add_argument("--draws", type=int, default=0, help="of the Geometry Score")
    arguments = parser.parse_args()
    with one_line_errors():
        print(json.dumps(compare(arguments), indent=2))


def compare(arguments: argparse.Namespace) -> dict:
    """The report on what the command line names; the classifier knows the embedded writers."""
    training = Strokes().read("train")
    known = np.array(training.class_names)[np.unique(training.writers)]
    ours = Strokes(arguments.strokes).read(arguments.split)
    if arguments.halves:
        theirs = ours
        first, second = np.array_split(np.random.default_rng(0).permutation(len(ours)), 2)
    else:
        theirs = Strokes(arguments.against).read(arguments.against_split)
        first, second = np.arange(len(ours)), np.arange(len(theirs))
    got = Words(f"lines of {ours.shape} and {theirs.shape}")
    require(ours.shape == theirs.shape or not arguments.draws, "against", got, "equal shapes")
    some = slice(arguments.lines)
    return report(
        Lines.of(ours, first[some]), Lines.of(theirs, second[some]), known, arguments.draws
    )


if __name__ == "__main__":
    main()
