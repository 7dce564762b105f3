"""Where the numbers and pictures of a run are written: metrics.jsonl, TensorBoard.

A `Writer` takes rows and pictures. Others are opened by a tracker (`training/trackers.py`).
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from options.errors import StorageError
from options.project import extra
from storage import json_text
from storage.files import atomic_write

LEVELS = 10  # bins of the noise level for the loss per level


@dataclass(frozen=True)
class Row:
    """The numbers of one step.

    Attributes:
      kind: "train" for means since the last such row, "measured" for the averaged parameters.
      by_level: the training loss in each of LEVELS bins of the noise level, None where one is
        empty; () where there is none.
    """

    step: int
    kind: str
    values: Mapping[str, float]
    by_level: Sequence[float | None] = ()

    def plain(self) -> dict[str, Any]:
        """The row as one flat dict, as it is in metrics.jsonl."""
        levels = {"loss_by_level": list(self.by_level)} if self.by_level else {}
        return {"step": self.step, **self.values, **levels}

    def curves(self) -> dict[str, float]:
        """A point of each curve, by its tag, such as "train/loss" or "loss_by_level/0.0-0.1"."""
        points = {f"{self.kind}/{name}": value for name, value in self.values.items()}
        for i, value in enumerate(self.by_level):
            if value is not None:
                points[f"loss_by_level/{i / LEVELS:.1f}-{(i + 1) / LEVELS:.1f}"] = value
        return points


class Writer(Protocol):
    """Takes what a run has to show, in the order of its steps."""

    def row(self, row: Row) -> None:
        """Writes the numbers of a step."""

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Shows a uint8 picture, (H, W[, channels])."""

    def close(self, failed: bool) -> None:
        """Ends; failed: the run ends by an error."""


class NoWriter:
    """Writes nothing."""

    def row(self, row: Row) -> None:
        pass

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        pass

    def close(self, failed: bool) -> None:
        pass


NOTHING = NoWriter()


class Lines(NoWriter):
    """metrics.jsonl: a line a row, less what a killed run wrote after `step`.

    Attributes:
      newest: the newest step of each name in the rows that are kept.
    """

    def __init__(self, path: Path, step: int):
        self._path = path
        self.newest = _truncate(path, step)

    def row(self, row: Row) -> None:
        """Appends a line. StorageError where it cannot be written."""
        try:
            with open(self._path, "a") as file:
                file.write(json.dumps(json_text.plain(row.plain()), allow_nan=False) + "\n")
        except OSError as error:
            but = f"{self._path} cannot be written: {error}"
            raise StorageError("workdir", but=but) from error


class Board(NoWriter):
    """TensorBoard events in `folder`; what an earlier run wrote after `step` is hidden.

    They are written at once. tensorboardX's own writer queues them for a thread, and once a full
    disk has ended that thread, the next event waits for ever.

    NotInstalled without tensorboardX.
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

    def row(self, row: Row) -> None:
        for tag, value in row.curves().items():
            self._write(row.step, summary=self._summary.scalar(tag, value))
        self._events.flush()

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        formats = "HW" if picture.ndim == 2 else "HWC"
        self._write(step, summary=self._summary.image(tag, picture, dataformats=formats))
        self._events.flush()

    def close(self, failed: bool) -> None:
        self._events.close()

    def _write(self, step: int, **content: Any) -> None:
        self._events.write_event(self._event(wall_time=time.time(), step=step, **content))


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
