"""Style from a photograph of a line, against style from the same line as it is drawn.

Lines of the last split are photographed: turned by up to 6 degrees, on paper lit from one side with
a shadow on it, with grain, as a JPEG; `handwriting.photo` makes of that a picture of black on white
again. *Style* is how often the nearest of the real lines, by the features, is by the same writer;
none of these is a line that is photographed. *Writer* is the same of lines written in the style.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from data.strokes import Line
from evaluation.handwriting import OF_REAL, HandwritingSubject, legibility_of, style_of
from experiment.writing import Writer
from handwriting.drawing import Look
from handwriting.page import Layout, page
from handwriting.photo import style_picture
from handwriting.raster import coverage
from handwriting.render import STYLE
from handwriting.writer_recognition import nearest
from options.choices import require
from options.errors import InvalidValue, Words
from options.progress import bar_updater, progress_bar
from tools.handwriting_sections.section import (
    Asked,
    as_table,
    cells,
    chosen_of,
    real_figures,
    real_lines,
    require_pen,
)

STEEPEST = 6.0  # degrees
LAYOUT = Layout(
    0, 0, x_height=5, line_height=18, left=12, right=12, top=6, bottom=18, drift=0
)  # fmt: skip


@dataclass(frozen=True)
class Photographs:
    """A row of style from drawn lines, one of style from photographs, one of real lines."""

    lines: ClassVar[int] = 120

    def __call__(self, asked: Asked, count: int) -> str:
        """See `Section`; InvalidValue for a model that is not conditioned on style."""
        writer = asked.writer(asked.splits[-1])
        subject = writer.experiment.subject()
        require_pen(subject, "photographs")
        if subject.extractor is None:
            raise InvalidValue("sections", "photographs", "a model conditioned on style")
        chosen, models = apart(subject, count)
        real, shown = real_lines(subject, chosen), real_lines(subject, models)
        with tempfile.TemporaryDirectory() as folder:
            pictures = [style_of_photograph(line, k, folder) for k, line in enumerate(shown)]
        looks = {
            "lines as drawn": [STYLE(line.offsets) for line in shown],
            "photographs": pictures,
        }
        rows = [
            {"style from": name} | _row(writer, subject, chosen, real, images)
            for name, images in looks.items()
        ]
        theirs = cells(real_figures(subject, real))
        rows.append({"style from": "(real lines)", "style": theirs.pop("writer")} | theirs)
        return as_table(
            f"{len(real)} lines of {subject.held_out.name}; sampled as configured", rows
        )


def apart(
    subject: HandwritingSubject, count: int
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Held-out lines, and for each another one by its writer that is none of them."""
    total = len(subject.held_out)
    chosen, _ = chosen_of(subject, min(count, total // 2))
    writers = subject.lines.writers[subject.numbers]
    rest = np.setdiff1d(np.arange(total), chosen)
    chosen = chosen[np.isin(writers[chosen], writers[rest])]
    require(len(chosen) >= 2, "split", Words("writers of one line each"), "writers of several")
    rng = np.random.default_rng(0)
    return chosen, np.array([rng.choice(rest[writers[rest] == w]) for w in writers[chosen]])


def _row(
    writer: Writer,
    subject: HandwritingSubject,
    chosen: Int[np.ndarray, "n"],
    real: Sequence[Line],
    images: Sequence[UInt8[np.ndarray, "_ _"]],
) -> dict[str, str]:
    """What is seen in images, and what is written in that style."""
    assert subject.extractor is not None
    experiment, styles = writer.experiment, subject.extractor(images)
    theirs = subject.extractor([STYLE(line.offsets) for line in real])
    writers = np.array([line.writer for line in real])
    seen = nearest(styles, writers, theirs, writers)
    records = subject.held_out.take(chosen)
    asked = experiment.asked(records["text"], records["label"], styles)
    with progress_bar(desc="write") as bar:
        made = experiment.scribe.write(
            experiment.guided(writer.params), jax.random.key(0), asked, progress=bar_updater(bar)
        )
    traces = zip(made.traces, real, strict=True)
    lines = [Line(rows, line.text, line.writer) for rows, line in traces]
    figures = legibility_of(subject.medium, lines) + style_of(subject, lines, real, made.nfe)
    found = cells([figure for figure in figures if OF_REAL not in figure.name])
    found["Frechet"] = found.pop("style")
    return {"style": f"{seen:.3f}"} | found


def style_of_photograph(line: Line, seed: int, folder: str) -> UInt8[np.ndarray, "96 w"]:
    """The picture that is made of a photograph of a line."""
    rng, path = np.random.default_rng(seed), Path(folder, f"{seed}.jpg")
    ink = coverage(page([line], LAYOUT), Look(thickness=0.7, pixels=900))
    Image.fromarray(photographed(ink, rng.uniform(-STEEPEST, STEEPEST), rng=rng)).save(path)
    return style_picture(path, STYLE.widest)


def photographed(
    ink: UInt8[np.ndarray, "h w"],
    angle: float = 0.0,
    noise: float = 3.0,
    rng: np.random.Generator | None = None,
) -> UInt8[np.ndarray, "_ _"]:
    """Ink of 0 to 255 turned counter-clockwise by `angle` degrees, on paper that is lit from the
    left, with a shadow, and grain of the standard deviation `noise`."""
    turned = Image.fromarray(ink).rotate(angle, Image.Resampling.BICUBIC, expand=True)
    covered = np.asarray(turned, float) / 255
    y, x = np.mgrid[0 : 1 : covered.shape[0] * 1j, 0 : 1 : covered.shape[1] * 1j]
    light = 230 - 110 * x - 40 * np.exp(-(((x - 0.6) / 0.15) ** 2) - ((y - 0.5) / 0.4) ** 2)
    grain = (rng or np.random.default_rng(0)).normal(0, noise, covered.shape)
    return np.clip(light * (1 - 0.75 * covered) + grain, 0, 255).astype(np.uint8)
