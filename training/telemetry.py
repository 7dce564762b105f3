"""Watching a run: a progress bar, lines in the terminal, metrics.jsonl, TensorBoard, pictures."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from options.errors import NotInstalled, StorageError
from options.progress import progress_bar
from options.project import extra
from storage import json_text
from storage.files import atomic_write
from storage.pictures import write_png

LEVELS = 10  # bins of the noise level for the loss per level


class Telemetry:
    """The logs of one run in `workdir`, written by the first process.

    Opened at `step`, it forgets what a killed run logged after that step.
    """

    def __init__(self, workdir: Path, step: int, steps: int, batch_size: int, unit: str):
        self.workdir, self.unit, self.batch_size = workdir, unit, batch_size
        self.active = active = jax.process_index() == 0
        self._pending: list[dict[str, np.ndarray]] = []
        self._seconds = 0.0
        self._bar = progress_bar(
            desc="train", total=steps, initial=step, disable=not active, smoothing=0.1
        )
        self._newest: dict[str, int] = {}
        if active:
            self._path = workdir / "metrics.jsonl"
            self._newest = _truncate(self._path, step)
            self._board = self._open_board(step)

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        if self.active:
            self._board.close()

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
        row: dict[str, Any] = {"step": step, **scalars}
        if losses is not None and fractions is not None:
            row["loss_by_level"] = _ratio(losses.mean(0), fractions.mean(0))
        if self.active:
            self._write(row, scalars)
        return row

    def newest(self, name: str) -> int:
        """The newest step at which an earlier run, up to where this one begins, logged a number of
        this name; 0 if it never did, or on a process that does not write."""
        return self._newest.get(name, 0)

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """Write what was measured of the averaged parameters: a row, a line, and curves."""
        self._append({"step": step, **values})
        for name, value in values.items():
            self._board.scalar(f"measured/{name}", value, step)
        self._board.flush()
        said = (f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
        self.say(f"step {step}: {', '.join(said)}")

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Show uint8 pictures, (H, W[, channels]), in TensorBoard and in workdir/pictures."""
        for name, picture in pictures.items():
            picture = picture if picture.ndim == 3 else picture[..., None]
            write_png(self.workdir / "pictures" / f"{name}-{step:08d}.png", picture)
            self._board.picture(name, picture, step)
        self._board.flush()

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

    def _open_board(self, step: int) -> "NoBoard":
        try:
            return Board(self.workdir / "tensorboard", step)
        except NotInstalled as error:
            self.say(f"no logs for TensorBoard: {error}")
            return NoBoard()

    def _write(self, row: dict[str, Any], scalars: dict[str, float]) -> None:
        """A line of the file and of the terminal; in TensorBoard, the scalars as curves."""
        self._append(row)
        step = row["step"]
        for name, value in scalars.items():
            self._board.scalar(f"train/{name}", value, step)
        for i, value in enumerate(row.get("loss_by_level", [])):
            if value is not None:
                tag = f"loss_by_level/{i / LEVELS:.1f}-{(i + 1) / LEVELS:.1f}"
                self._board.scalar(tag, value, step)
        self._board.flush()
        self.say(
            f"step {step}: loss {row['loss']:.4g}, gradient norm {row['gradient_norm']:.3g}, "
            f"learning rate {row['learning_rate']:.3g}, {row['steps_per_second']:.2f} steps/s, "
            f"{row[f'{self.unit}_per_second']:.0f} {self.unit}/s"
        )

    def _append(self, row: dict[str, Any]) -> None:
        """A row of the file."""
        try:
            with open(self._path, "a") as file:
                file.write(json.dumps(json_text.plain(row), allow_nan=False) + "\n")
        except OSError as error:
            but = f"{self._path} cannot be written: {error}"
            raise StorageError("workdir", but=but) from error


class NoBoard:
    """Shows nothing; what a `Board` can do."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One point of a curve."""

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """A uint8 picture, (H, W, 3) or (H, W)."""

    def flush(self) -> None:
        """Shows what was written."""

    def close(self) -> None:
        """Ends."""


class Board(NoBoard):
    """TensorBoard events in `folder`; what an earlier run wrote after `step` is hidden.

    They are written at once. tensorboardX's own writer queues them for a thread, and once a full
    disk has ended that thread, the next event waits for ever.
    """

    def __init__(self, folder: Path, step: int):
        with extra("train"):
            from tensorboardX import summary
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2

        self._summary, self._event = summary, event_pb2.Event
        folder.mkdir(exist_ok=True)
        self._events = EventsWriter(str(folder / "events"))
        restart = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(step + 1, session_log=restart)

    def scalar(self, tag: str, value: float, step: int) -> None:
        self._write(step, summary=self._summary.scalar(tag, value))

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        formats = "HW" if picture.ndim == 2 else "HWC"
        self._write(step, summary=self._summary.image(tag, picture, dataformats=formats))

    def flush(self) -> None:
        self._events.flush()

    def close(self) -> None:
        self._events.close()

    def _write(self, step: int, **content: Any) -> None:
        self._events.write_event(self._event(wall_time=time.time(), step=step, **content))


def _ratio(losses: np.ndarray, fractions: np.ndarray) -> list[float | None]:
    """Mean loss per bin; None where a bin is empty."""
    return [float(s / n) if n > 0 else None for s, n in zip(losses, fractions, strict=True)]


def _truncate(path: Path, step: int) -> dict[str, int]:
    """Drop the rows after `step`, one cut short by a kill, and damaged ones.

    Returns the newest step of each name in the rows that are kept.
    """
    if not path.exists():
        return {}
    kept: list[str] = []
    newest: dict[str, int] = {}
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
            if row["step"] <= step:
                newest |= dict.fromkeys(row, row["step"])
                kept.append(line.decode() + "\n")
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    with atomic_write(path, "w") as file:
        file.writelines(kept)
    return newest
