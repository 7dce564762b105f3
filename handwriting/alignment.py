"""Which points write which character, from the weights by which points attend to characters.

The path j_1 <= j_2 <= ... of one character for every point, of all that never go back the one with

    the greatest sum_i log(w[i, j_i] + FLOOR)                                                   (1)

by dynamic programming,

    S[i, j] = log(w[i, j] + FLOOR) + max_{k <= j} S[i-1, k].                                    (2)

A character may be passed over: no point need write a space, and a letter without points is one that
the model left out.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from handwriting.drawing import Span
from options.choices import require
from options.errors import Words
from storage.pictures import Panel, drawn, write_png

FLOOR = 1e-6
BAND = 8  # rows of pixels of a character in a picture, one of which is its span
SPACE = "␣"  # as which a space is named
HEAT = np.array([[255, 255, 255], [253, 204, 138], [215, 90, 60], [90, 10, 70], [0, 0, 0]])
MARK, EMPTY = (30, 90, 200), (235, 235, 235)  # of the row of a span


def path(weights: Float[np.ndarray, "points characters"]) -> Int[np.ndarray, " points"]:
    """The characters of (1), the first of several equal ones.

    InvalidValue for weights that are negative, not finite or none.
    """
    require(weights.size, "weights", Words("none"), "points and characters")
    fit = np.isfinite(weights).all() and weights.min() >= 0
    require(fit, "weights", Words("negative or not finite ones"), "numbers of 0 or more")
    gains = np.log(weights + FLOOR)
    points, characters = gains.shape
    came_from = np.zeros((points, characters), int)
    score = gains[0]
    for i in range(1, points):
        best = np.maximum.accumulate(score)
        is_new = np.concatenate([[True], score[1:] > best[:-1]])
        came_from[i] = np.maximum.accumulate(np.where(is_new, np.arange(characters), 0))
        score = gains[i] + best
    found = np.empty(points, int)
    found[-1] = score.argmax()
    for i in range(points - 1, 0, -1):
        found[i - 1] = came_from[i, found[i]]
    return found


def spans(weights: Float[np.ndarray, "points characters"], text: str) -> tuple[Span, ...]:
    """The points of each character of the text, in its order; together they are all points.

    InvalidValue where there are not as many characters, and as `path`.
    """
    _check(weights, text)
    ends = np.searchsorted(path(weights), np.arange(len(text)), side="right")
    starts = [0, *ends[:-1]]
    return tuple(Span(c, int(a), int(b)) for c, a, b in zip(text, starts, ends, strict=True))


def picture(
    weights: Float[np.ndarray, "points characters"], text: str
) -> UInt8[np.ndarray, "h w 3"]:
    """A heat map: points from left to right, characters from top to bottom with their names.

    Darker is heavier, relative to the greatest weight. Below each character is the line of its
    span. InvalidValue as `spans`.
    """
    found = spans(weights, text)
    shades = weights.T / max(float(weights.max()), FLOOR) * (len(HEAT) - 1)
    colours = np.stack([np.interp(shades, range(len(HEAT)), part) for part in HEAT.T], -1)
    bands = np.rint(colours).astype(np.uint8)[:, None].repeat(BAND, axis=1)
    bands[:, -1] = EMPTY
    for band, span in zip(bands, found, strict=True):
        band[-1, span.start : span.end] = MARK
    return drawn(Panel(bands[:, None], names=_names(text)))


def write_picture(
    path: str | Path, weights: Float[np.ndarray, "points characters"], text: str
) -> None:
    """`picture` as PNG, whole or not at all."""
    write_png(path, picture(weights, text))


def _names(text: str) -> Sequence[str]:
    return [SPACE if character.isspace() else character for character in text]


def _check(weights: np.ndarray, text: str) -> None:
    got = Words(f"weights of {weights.shape[1]} characters")
    require(weights.shape[1] == len(text), "text", got, f"as many as it has, {len(text)}")
