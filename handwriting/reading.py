"""Lines of pen strokes, read by a recogniser as it reads real lines best.

RENDERINGS are the settings of those tried at which the recogniser's error on real training lines is
least; `python -m tools.measure_legibility --grid` measures them again.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from handwriting.render import Rendering
from metrics.character_error import PROTOCOLS, ErrorRate, best, error_rate
from metrics.recognizers import Images, load
from options.errors import NotInstalled

RENDERINGS = {
    "ppocr": Rendering(height=96, pen=5.0, margin=6),
    "tesseract": Rendering(height=64, pen=3.0, margin=14),
}
FIFTY = Path(__file__).with_name("fifty.txt")


def fifty() -> list[str]:
    """The fifty strings by which generated handwriting is measured: prose, names, numbers."""
    return FIFTY.read_text().splitlines()


def legibility(name: str, images: Images, texts: Sequence[str]) -> dict[str, ErrorRate]:
    """The error rate of lines that should read `texts`, by each of PROTOCOLS.

    name: of a recogniser, for which the images are drawn. NotInstalled where it is missing.
    """
    read = load(name)(images)
    return {protocol: error_rate(read, texts, protocol) for protocol in PROTOCOLS}


def best_lines(name: str, candidates: Sequence[Images], texts: Sequence[str]) -> list[int]:
    """For each text the number of its candidate that the recogniser of that name reads best."""
    return best(texts, candidates, load(name))


def installed() -> list[str]:
    """The recognisers that are there, and what counts their errors, by name."""
    found = []
    for name in RENDERINGS:
        with contextlib.suppress(NotInstalled):
            load(name)
            error_rate(["a"], ["a"])
            found.append(name)
    return found
