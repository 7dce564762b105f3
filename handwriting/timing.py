"""When each stroke is written by a pen of constant speed that rests between strokes."""

from typing import NamedTuple

import numpy as np

from handwriting.curves import flattened
from handwriting.drawing import Drawing, Look
from handwriting.preprocessing import Stroke

SHORTEST = 0.02  # seconds, of a dot


class Timed(NamedTuple):
    """A stroke as a line of straight pieces, when it begins and how long it takes, in seconds."""

    path: Stroke
    begin: float
    duration: float

    def until(self, time: float) -> Stroke:
        """The part that is written at a time; () before its beginning."""
        if time < self.begin:
            return self.path[:0]
        lengths = np.linalg.norm(np.diff(self.path, axis=0, prepend=self.path[:1]), axis=1)
        at = np.cumsum(lengths)
        reached = at[-1] * min((time - self.begin) / self.duration, 1.0)
        tip = [np.interp(reached, at, coordinate) for coordinate in self.path.T]
        return np.concatenate([self.path[at < reached], [tip]])


def timed(drawing: Drawing, look: Look) -> list[Timed]:
    """The strokes in their order: each takes its length over the speed, and a pause follows."""
    found, now = [], 0.0
    for stroke in drawing.strokes:
        path = flattened(stroke) if look.smooth else stroke
        length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
        found.append(Timed(path, now, max(length / look.speed, SHORTEST)))
        now += found[-1].duration + look.pause
    return found


def total(strokes: list[Timed]) -> float:
    """Seconds until the last stroke is written."""
    return strokes[-1].begin + strokes[-1].duration if strokes else 0.0
