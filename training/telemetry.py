"""Watching a run: a progress bar, lines in the terminal, pictures, and what the writers keep."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from options.errors import NotInstalled
from options.progress import progress_bar
from storage.pictures import write_png
from training.expectation import Expectation
from training.writers import NOTHING, Board, Lines, Row, Writer


class Telemetry:
    """The logs of one run in `workdir`, written by the first process.

    Opened at `step`, it forgets what a killed run logged after that step.

    tracked: what else writes, beside metrics.jsonl and TensorBoard.
    """

    def __init__(
        self,
        workdir: Path,
        step: int,
        steps: int,
        batch_size: int,
        unit: str,
        tracked: Writer = NOTHING,
    ):
        self.workdir, self.unit, self.batch_size = workdir, unit, batch_size
        self.active = active = jax.process_index() == 0
        self._pending: list[dict[str, np.ndarray]] = []
        self._seconds = 0.0
        self._bar = progress_bar(
            desc="train", total=steps, initial=step, disable=not active, smoothing=0.1
        )
        self._expectation = Expectation(step, steps)
        self._newest: dict[str, int] = {}
        self._writers: list[Writer] = []
        if active:
            lines = Lines(workdir / "metrics.jsonl", step)
            self._newest = lines.newest
            self._writers = [lines, self._open_board(step), tracked]

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        for writer in self._writers:
            writer.close(failed=error[0] is not None)

    def begin(self, line: str) -> None:
        """Print a line and start the clock of the steps per second."""
        self.say(line)
        self._bar.unpause()

    def record(
        self, summaries: Mapping[str, np.ndarray], seconds: float, left: float | None = None
    ) -> None:
        """Take the summaries of a chunk, leading axis (steps,), which took `seconds`.

        left: seconds until the run ends by the clock; None if it ends by the step, as the bar says.
        """
        self._pending.append(dict(summaries))
        self._seconds += seconds
        steps = len(summaries["loss"])
        rate = f"{self.batch_size * steps / seconds:.0f} {self.unit}/s"
        end = "" if left is None else f", ends in {max(left, 0):.0f} s"
        self._bar.set_postfix_str(f"loss {summaries['loss'][-1]:.4g}, {rate}{end}", refresh=False)
        self._bar.update(steps)
        for line in self._expectation.took(steps, seconds, left):
            self.say(line)

    def flush(self, step: int) -> dict[str, Any]:
        """Write the means over the steps recorded since the last call, and return them."""
        stacked = {k: np.concatenate([p[k] for p in self._pending]) for k in self._pending[0]}
        rate = len(stacked["loss"]) / self._seconds
        self._pending, self._seconds = [], 0.0
        losses, fractions = (stacked.pop(k, None) for k in ("level_loss", "level_fraction"))
        scalars = {name: float(values.mean()) for name, values in stacked.items()}
        scalars["learning_rate"] = float(stacked["learning_rate"][-1])
        scalars["steps_per_second"] = rate
        scalars[f"{self.unit}_per_second"] = rate * self.batch_size
        levels: list[float | None] = []
        if losses is not None and fractions is not None:
            levels = _ratio(losses.mean(0), fractions.mean(0))
        row = Row(step, "train", scalars, levels)
        self._write(row)
        self.say(
            f"step {step}: loss {scalars['loss']:.4g}, gradient norm "
            f"{scalars['gradient_norm']:.3g}, learning rate {scalars['learning_rate']:.3g}, "
            f"{rate:.2f} steps/s, {rate * self.batch_size:.0f} {self.unit}/s"
        )
        return row.plain()

    def newest(self, name: str) -> int:
        """The newest step at which an earlier run, up to where this one begins, logged a number of
        this name; 0 if it never did, or on a process that does not write."""
        return self._newest.get(name, 0)

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """Write what was measured of the averaged parameters: a row, a line, and curves."""
        self._write(Row(step, "measured", values))
        said = (f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
        self.say(f"step {step}: {', '.join(said)}")

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Show uint8 pictures, (H, W[, channels]), and keep them in workdir/pictures."""
        for name, picture in pictures.items():
            picture = picture if picture.ndim == 3 else picture[..., None]
            write_png(self.workdir / "pictures" / f"{name}-{step:08d}.png", picture)
            for writer in self._writers:
                writer.picture(name, picture, step)

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Inside, the bar says what is being done while no steps are."""
        self._bar.doing(what)
        yield
        self._bar.doing("")

    def say(self, line: str) -> None:
        """Print a line above the progress bar."""
        if self.active:
            tqdm.write(line)

    def _open_board(self, step: int) -> Writer:
        try:
            return Board(self.workdir / "tensorboard", step)
        except NotInstalled as error:
            self.say(f"no logs for TensorBoard: {error}")
            return NOTHING

    def _write(self, row: Row) -> None:
        for writer in self._writers:
            writer.row(row)


def _ratio(losses: np.ndarray, fractions: np.ndarray) -> list[float | None]:
    """Mean loss per bin; None where a bin is empty."""
    return [float(s / n) if n > 0 else None for s, n in zip(losses, fractions, strict=True)]
