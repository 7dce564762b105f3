"""Services that follow a run beside metrics.jsonl and TensorBoard, by name."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from options.errors import InvalidValue
from options.project import extra
from storage.files import atomic_write
from training.writers import NOTHING, Row, Writer


class Tracker(Protocol):
    """A service, and how a run is entered there; hashable."""

    def require(self) -> None:
        """NotInstalled where its package is missing."""

    def open(self, workdir: Path, config: Mapping[str, Any] | None) -> Writer:
        """What writes to the run of `workdir`, the same one each time.

        config: nested sections, JSON-able, to show beside the run.
        """
        ...


@dataclass(frozen=True)
class NoTracker:
    """No further service."""

    def require(self) -> None:
        pass

    def open(self, workdir: Path, config: Mapping[str, Any] | None) -> Writer:
        return NOTHING


@dataclass(frozen=True)
class WandB:
    """Weights & Biases. Its own settings, such as WANDB_MODE=offline, are obeyed.

    Attributes:
      project: where the run is listed.
      entity: the user or team that owns the project; empty for the account's own.
      run_name: what the run is called; empty for the name of the workdir's folder.
    """

    project: str = "score-sde-jax"
    entity: str = ""
    run_name: str = ""

    def require(self) -> None:
        with extra("wandb"):
            import wandb  # noqa: F401

    def open(self, workdir: Path, config: Mapping[str, Any] | None) -> Writer:
        """InvalidValue where the service refuses, as without an account."""
        with extra("wandb"):
            import wandb
        try:
            run = wandb.init(
                project=self.project,
                entity=self.entity or None,
                name=self.run_name or workdir.name,
                id=run_id(workdir / "wandb" / "run_id"),
                resume="allow",
                dir=str(workdir),
                config=dict(config or {}),
                allow_val_change=True,
            )
        except wandb.Error as error:
            said = " ".join(str(error).split())
            raise InvalidValue("training.tracker", "wandb", but=said) from error
        return WandBRun(run, wandb.Image)


TRACKERS: dict[str, type[Tracker]] = {"none": NoTracker, "wandb": WandB}


class WandBRun:
    """Curves over the step of the training, and pictures.

    W&B's own count of steps only rises. A run that was killed goes back to its last checkpoint, so
    the step is a value of its own, and what is done again is logged again at the same step.
    """

    def __init__(self, run: Any, image: Any):
        self._run, self._image = run, image
        run.define_metric("step")
        run.define_metric("*", step_metric="step")

    def row(self, row: Row) -> None:
        self._run.log({"step": row.step, **row.curves()})

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        self._run.log({"step": step, f"pictures/{tag}": self._image(picture)})

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


def run_id(path: Path) -> str:
    """The id that is kept in a file; a new one where there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "w") as file:
            file.write(secrets.token_hex(8))
    return path.read_text()
