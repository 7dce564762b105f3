"""How long a run will take, said once its first steps have been timed."""

from collections.abc import Iterator

TIMED = 10.0  # seconds of steps, the first dispatch left out
DAY = 24 * 3600.0
SHORTER = (
    "that is more than a day: a smaller configuration (configs/folder_small.py is one for CPUs), "
    "fewer training.steps, or a GPU shortens it"
)


class Expectation:
    """Of a run of so many steps in all, by the speed of those that it has seen."""

    def __init__(self, step: int, steps: int) -> None:
        self._left = steps - step
        self._timed: tuple[int, float] | None = None
        self._said = False

    def took(self, steps: int, seconds: float, clock: float | None = None) -> Iterator[str]:
        """What there is to say after a dispatch, a line each; only once is there anything.

        clock: seconds until the run ends by it; None for never.
        """
        self._left -= steps
        if self._timed is None:
            self._timed = 0, 0.0
            return
        done, spent = self._timed = self._timed[0] + steps, self._timed[1] + seconds
        if self._said or spent < TIMED or not self._left:
            return
        self._said = True
        whole = expected(self._left, done, spent)
        if clock is not None and clock < whole:
            reached = f"about {clock * done / spent:,.0f} of the {self._left:,} steps left"
            yield f"training.max_seconds ends the run in {in_words(clock)}, after {reached}"
            return
        apart = "plots and measurements apart"
        yield f"the {self._left:,} steps left will take about {in_words(whole)}, {apart}"
        if whole > DAY:
            yield SHORTER


def expected(steps: int, done: int, seconds: float) -> float:
    """Seconds that so many steps take where some were done in `seconds`."""
    return steps * seconds / done


def in_words(seconds: float) -> str:
    """A duration in the unit that suits it."""
    for unit, length, least in (("days", DAY, 2 * DAY), ("hours", 3600.0, 5400.0)):
        if seconds >= least:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
