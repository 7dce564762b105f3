"""Measures whether lines of pen strokes can be read: character error rates by two recognisers.

    python -m tools.measure_legibility              the floor: real lines of the embedded set
    python -m tools.measure_legibility --strokes FILE --split SPLIT --lines 300
    python -m tools.measure_legibility --grid       by how lines are drawn

Lines generated for some texts, written by `data.strokes.write`, are measured like real ones. What a
recogniser misreads of real lines is its floor: compare with nothing else.
"""

import argparse
from collections.abc import Iterator

import numpy as np

from data.strokes import Strokes, StrokeSource
from handwriting.reading import RENDERINGS
from handwriting.render import Rendering
from metrics.character_error import PROTOCOLS, error_rate
from metrics.recognizers import RECOGNIZERS, load
from options.choices import require_count
from options.errors import NotInstalled
from options.program import one_line_errors

# Pens and margins over the height of the image.
PENS, MARGINS = (1 / 24, 1 / 16), (1 / 16, 1 / 8, 2 / 9)
GRID = [
    Rendering(height, height * pen, round(height * margin))
    for height in (96, 64, 48)
    for pen in PENS
    for margin in MARGINS
]


def measured(
    source: StrokeSource, count: int, name: str, renderings: list[Rendering]
) -> Iterator[str]:
    """A row of the table for each way of drawing."""
    chosen = np.unique(np.linspace(0, len(source) - 1, count).astype(int))
    lines = [source.line(int(i)) for i in chosen]
    recognizer = load(name)
    for rendering in renderings:
        read = recognizer([rendering(line.offsets) for line in lines])
        texts = [line.text for line in lines]
        rates = [error_rate(read, texts, protocol) for protocol in PROTOCOLS]
        cells = [f"{found.rate:.4f} +- {found.standard_error:.4f}" for found in rates]
        drawn = f"{rendering.height} px, pen {rendering.pen:.3g}, margin {rendering.margin}"
        yield " | ".join([recognizer.name, drawn, *cells, f"{rates[1].perfect:.3f}"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strokes", default="", help="a file of lines; the embedded ones")
    parser.add_argument("--split", nargs="+", default=["train", "new_writers"])
    parser.add_argument("--lines", type=int, default=300, help="of each split, evenly spaced")
    parser.add_argument("--recognizer", nargs="+", default=list(RECOGNIZERS))
    parser.add_argument("--grid", action="store_true", help="draw the lines in several ways")
    arguments = parser.parse_args()
    with one_line_errors():
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Prints the table; a recogniser that is not installed has a line that says so."""
    require_count("lines", arguments.lines, 1)
    strokes = Strokes(arguments.strokes)
    print(" | ".join(["recogniser", "drawn", *PROTOCOLS, "lines without errors"]))
    for split in arguments.split:
        source = strokes.read(split)
        print(f"{source.name}, {min(arguments.lines, len(source))} lines")
        for name in arguments.recognizer:
            renderings = GRID if arguments.grid else [RENDERINGS[name]]
            try:
                for row in measured(source, arguments.lines, name, renderings):
                    print(row, flush=True)
            except NotInstalled as missing:
                print(f"{name}: {missing}")


if __name__ == "__main__":
    main()
