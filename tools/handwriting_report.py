"""How well and how fast a model of handwriting writes, by solver and steps, as a table in Markdown.

    python -m tools.handwriting_report --weights handwriting_small [--lines 100] [--out table.md]

Rows are the paper's two samplers (Luhman & Luhman 2020, algorithm 2 and equation 9, 60 steps), the
first in fewer steps, and DDIM and DPM-Solver++ in 4, 8 and 16. All write the same held-out texts in
the style of their writers from the same noise; below them are the real lines. Character error rates
are those of `handwriting.reading`, where the recognisers are installed. Seconds are of all lines in
batches, and of one line, compiled before.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evaluation.handwriting import legibility_of, style_of, written
from experiment.handwriting import HandwritingExperiment
from experiment.pipeline import load_writer
from handwriting.reading import RENDERINGS
from metrics.report import Figure
from options.choices import require_count
from options.program import one_line_errors
from storage.files import atomic_write
from tools.command_line import hardware
from tools.markdown import table

OF_REAL = " of real lines"  # behind the names of their figures
PAPER = {"sampling.t_end": 1 / 60, "sampling.end_clean": True, "sampling.num_steps": 60}
RENOISING = PAPER | {"sampling.solver": "renoising", "sampling.denoise": "none"}
FEW = {"sampling.t_end": 1e-3, "sampling.end_clean": False, "sampling.denoise": "tweedie"}


class Row(NamedTuple):
    """A sampler: its name, and what it changes in a configuration."""

    name: str
    overrides: dict[str, Any]


ROWS = [
    Row("algorithm 2", RENOISING),
    *(
        Row(f"algorithm 2, {n}", RENOISING | {"sampling.num_steps": n, "sampling.t_end": 1 / n})
        for n in (8, 16, 30)
    ),
    Row(
        "equation 9",
        PAPER
        | {
            "sampling.solver": "pc",
            "sampling.solver.predictor": "ancestral",
            "sampling.solver.predictor.variance": "large",
            "sampling.solver.corrector": "none",
            "sampling.denoise": "mean",
        },
    ),
    *(
        Row(f"{solver}, {n}", FEW | {"sampling.solver": solver, "sampling.num_steps": n})
        for solver in ("ddim", "dpm")
        for n in (4, 8, 16)
    ),
]


def measured(where: str, row: Row, chosen: np.ndarray) -> tuple[list[Figure], dict[str, float]]:
    """The figures of what a sampler writes, and its seconds a line."""
    writer = load_writer(where, row.overrides)
    experiment: HandwritingExperiment = writer.experiment
    subject = experiment.subject()
    real = [subject.lines.line(int(i)) for i in subject.numbers[chosen]]
    seconds = {}
    for name, some in (("batched", chosen), ("single", chosen[:1])):
        written(subject, writer.params, some, real[: len(some)], 0)
        began = time.monotonic()
        made, evaluations = written(subject, writer.params, some, real[: len(some)], 0)
        seconds[name] = (time.monotonic() - began) / len(some)
        if len(some) == len(chosen):
            figures = legibility_of(made, evaluations=evaluations)
            figures += style_of(subject.extractor, made, real, evaluations)
    return figures, seconds


# Heads of columns, by the names of figures.
HEADS = {
    "character error rate": "CER",
    "read without error": "right",
    "nearest is of the writer": "writer",
    "nearest": "writer",
    "Frechet distance of style": "style",
}


def cells(figures: Sequence[Figure]) -> dict[str, str]:
    """The figures by the heads of their columns."""
    found: dict[str, str] = {}
    for figure in figures:
        head = HEADS[figure.name.removesuffix(OF_REAL)]
        by = f", {figure.extractor}" if figure.extractor in RENDERINGS else ""
        error = "" if figure.standard_error is None else f" ± {figure.standard_error:.3f}"
        found[head + by] = f"{figure.value:.3f}{error}"
    return found


def report(where: str, count: int) -> str:
    """The page."""
    writer = load_writer(where)
    subject = writer.experiment.subject()
    chosen = np.random.default_rng(0).permutation(len(subject.held_out))[:count]
    real = [subject.lines.line(int(i)) for i in subject.numbers[chosen]]
    rows: list[dict[str, str]] = []
    for row in ROWS:
        figures, seconds = measured(where, row, chosen)
        nfe = {"sampler": row.name, "evaluations": f"{figures[0].evaluations:.0f}"}
        times = {f"s a line, {name}": f"{value:.3f}" for name, value in seconds.items()}
        rows.append(nfe | cells([f for f in figures if OF_REAL not in f.name]) | times)
    of_real = legibility_of(real, OF_REAL)
    of_real += [f for f in style_of(subject.extractor, real, real, 0) if OF_REAL in f.name]
    rows.append({"sampler": "real lines", "evaluations": ""} | cells(of_real))
    heads = list(rows[0])
    about = f"{len(real)} lines of {subject.held_out.name}; {where}; {hardware()}"
    return f"{about}\n\n{table(heads, [[row.get(head, '') for head in heads] for row in rows])}\n"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.handwriting_report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weights", required=True, help="exported weights, or a workdir")
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--out", default="", help="file of the table, beside the screen")
    args = parser.parse_args(argv)
    require_count("lines", args.lines, 2)
    text = report(args.weights, args.lines)
    print(text)
    if args.out:
        with atomic_write(Path(args.out)) as file:
            file.write(text.encode())


if __name__ == "__main__":
    with one_line_errors():
        main()
