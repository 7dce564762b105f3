"""Writing for tests whose body is known: letters of straight strokes, 1 high, y down."""

import numpy as np

from data.strokes import Line
from handwriting.preprocessing import to_rows

# Strokes of a letter 0.6 wide on the baseline 0: small, with ascender, with descender, capital.
SHAPES = {
    "n": [[(0, 0), (0, -1), (0.6, -1), (0.6, 0)]],
    "h": [[(0, -2), (0, 0)], [(0, -1), (0.6, -1), (0.6, 0)]],
    "p": [[(0, -1), (0, 1)], [(0, -1), (0.6, -1), (0.6, 0), (0, 0)]],
    "E": [[(0, -1.5), (0, 0), (0.6, 0)], [(0, -1.5), (0.6, -1.5)]],
}
ADVANCE = 1.0


def strokes(text: str, scale: float = 1.0) -> list[np.ndarray]:
    """The strokes of a text of n, h, p, E and spaces."""
    return [
        (np.array(stroke) + [ADVANCE * i, 0]) * scale
        for i, letter in enumerate(text)
        if letter != " "
        for stroke in SHAPES[letter]
    ]


def line(text: str, scale: float = 1.0, writer: str = "anna") -> Line:
    """The same as rows."""
    return Line(to_rows(strokes(text, scale)), text, writer)
