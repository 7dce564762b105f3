"""Can written lines be read: the character error rate of a program that reads them.

    CER = sum over lines of distance(read, asked for) / sum over lines of len(asked for)     (1)

distance is Levenshtein's: the fewest insertions, deletions and substitutions of characters. Letters
of another case are other letters. It is taken twice: of the texts as they are, "raw", and with
every run of spaces made one and those at the ends left out, "words"; and once without any space,
"letters", since recognisers join words. The standard error is that of a ratio over lines,

    SE = sqrt(n / (n - 1) sum (d_i - CER l_i)^2) / sum l_i                                   (2)

A recogniser misreads real lines too: subtract the rate of the same one on those, the floor.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metrics.recognizers import Images, Recognizer
from options.choices import require
from options.errors import Words
from options.project import extra


def one_spaced(text: str) -> str:
    """Every run of white space as one space, none at the ends."""
    return " ".join(text.split())


def without_spaces(text: str) -> str:
    """Without white space."""
    return "".join(text.split())


PROTOCOLS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "words": one_spaced,
    "letters": without_spaces,
}


class ErrorRate(NamedTuple):
    """(1), (2), and the fraction of lines without any error."""

    rate: float
    standard_error: float
    perfect: float
    lines: int


def distances(read: Sequence[str], texts: Sequence[str]) -> Float[np.ndarray, "n"]:
    """Levenshtein's distance of each pair. NotInstalled without the extra `ocr`."""
    with extra("ocr"):
        from rapidfuzz.distance import Levenshtein
    pairs = zip(read, texts, strict=True)
    return np.array([Levenshtein.distance(a, b) for a, b in pairs], float)


def error_rate(read: Sequence[str], texts: Sequence[str], protocol: str = "words") -> ErrorRate:
    """The error rate of what was read. InvalidValue where no character was asked for."""
    change = PROTOCOLS[protocol]
    wanted = [change(text) for text in texts]
    d, lengths = (
        distances([change(text) for text in read], wanted),
        np.array(list(map(len, wanted))),
    )
    total = int(lengths.sum())
    require(total, "texts", Words("no character"), "at least one")
    rate, n = float(d.sum() / total), len(d)
    spread = float(np.sum((d - rate * lengths) ** 2))
    error = math.sqrt(n / (n - 1) * spread) / total if n > 1 else math.nan
    return ErrorRate(rate, error, float(np.mean(d == 0)), n)


def best(texts: Sequence[str], candidates: Sequence[Images], recognizer: Recognizer) -> list[int]:
    """For each text the number of the candidate image that is read with the fewest errors.

    candidates: for each text its images, at least one. The first of equals is taken, errors of
    spaces not counted.
    """
    counts = [len(images) for images in candidates]
    require(min(counts, default=1) >= 1, "candidates", Words("a text without any"), "at least one")
    read = recognizer([image for images in candidates for image in images])
    asked = [text for text, count in zip(texts, counts, strict=True) for _ in range(count)]
    errors = distances(list(map(without_spaces, read)), list(map(without_spaces, asked)))
    ends = np.cumsum(counts, dtype=int)
    return [
        int(np.argmin(errors[end - count : end])) for end, count in zip(ends, counts, strict=True)
    ]
