"""Guidance of an image model towards a class: a strategy, and what it is measured on.

`ImageExperiment.guide` makes one of a configuration; `--mode sample`, the samples of `--mode eval`
and every task of `--mode control` are guided by it.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from controllable.automatic.gain import MeasurementOptions, measure
from controllable.automatic.measurement import VERSION, GuidedModel, Measured, Row, lower
from controllable.strategies import GuidanceInputs, Strategy
from metrics.calibration import Classifier
from metrics.resumable import fingerprint
from options.memory import largest_batch, lowering
from options.progress import bar_updater, progress_bar
from parameterization import Predictor, as_predictor
from sde_lib import Process
from storage import npz
from storage.files import atomic_write
from tasks.conditions import Condition

logger = logging.getLogger(__name__)
BATCH = "sampling.batch_size"  # the field that says how many are measured at once


class KeptParts:
    """Parts of a measurement that is not yet at its end, so that one that is cut off goes on.

    whole: the file that the measurement will have; theirs lies beside it. None: nothing is kept.
    """

    def __init__(self, whole: Path | None) -> None:
        self._file = whole and whole.with_suffix(".parts.npz")
        self._rows: dict[str, Any] = {}
        if self._file is not None and self._file.exists():
            try:
                self._rows = npz.read(self._file)
            except npz.UNREADABLE as error:
                logger.warning("%s is damaged (%s); it is measured again", self._file, error)

    def __call__(self, name: str, make: Callable[[], Row]) -> Row:
        """The row of this part, made where it was not kept."""
        if name not in self._rows:
            self._rows[name] = np.array(make(), np.float64)
            if self._file is not None:
                with atomic_write(self._file) as file:
                    np.savez(file, **self._rows)
        return tuple(self._rows[name].tolist())

    def drop(self) -> None:
        """Removes what was kept, as the whole is."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Guide:
    """A guidance: predictor to predictor, towards the classes `labels` of a run's cond.

    process, conditions: of the model.
    classifier: for a strategy that needs one.
    held_out: gives data that neither network was trained on, in the process's range, with their
      classes; a strategy that needs a table has it measured on them, once for each predictor.
    keep: a folder in which what was measured of a network is found again, in part where that was
      cut off; None for none.
    batch_size: examples that are measured at once; None for the most that fit, up to those of
      `MeasurementOptions`.
    """

    strategy: Strategy
    process: Process
    conditions: tuple[Condition, ...]
    classifier: Classifier | None
    held_out: Callable[[], tuple[Array, np.ndarray]]
    keep: Path | None = None
    batch_size: int | None = None

    def __call__(self, predict: Predictor) -> Predictor:
        table = self.measured(predict).table() if self.strategy.needs_table else None
        inputs = GuidanceInputs(self.process, self.conditions, self.classifier, table)
        return self.strategy.guidance(inputs)(predict)

    def measured(self, predict: Predictor) -> Measured:
        """Measurements for automatic guidance of this predictor, with a progress bar."""
        assert self.classifier is not None
        x_0, labels = self.held_out()
        predict = as_predictor(predict)
        kept = self._kept(predict, x_0, labels)
        if kept is not None and kept.exists():
            try:
                return Measured(**npz.read(kept))
            except npz.UNREADABLE as error:
                logger.warning("%s is damaged (%s); it is measured again", kept, error)
        model = GuidedModel(self.process, predict, self.classifier, self.conditions)
        with progress_bar(desc="measuring guidance", unit="part") as bar:
            options = MeasurementOptions(batch_size=self.batch_size or self._fitting(model, x_0))
            parts = KeptParts(kept)
            with lowering(BATCH, options.batch_size):
                found = measure(
                    jax.random.key(0), model, x_0, labels, options, bar_updater(bar), parts
                )
        if kept is not None:
            with atomic_write(kept) as file:
                np.savez(file, **dataclasses.asdict(found))
            parts.drop()
        return found

    def _fitting(self, model: GuidedModel, x_0: Array) -> int:
        """How many examples like these can be measured at once."""
        most = min(MeasurementOptions.batch_size, len(x_0))
        shape = x_0.shape[1:]
        return largest_batch(lambda n: lower(model, (n, *shape)).compile(), most, 1, BATCH)

    def _kept(self, predict: Any, x_0: Array, labels: np.ndarray) -> Path | None:
        """The file of what is measured; None for a plain function, which cannot be identified."""
        if self.keep is None or not jax.tree.leaves(predict):
            return None
        leaves, structure = jax.tree.flatten((predict, self.classifier, x_0, labels))
        made_of = f"{self.process} {self.conditions} {VERSION} {structure} {fingerprint(leaves)}"
        return self.keep / f"guidance-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.npz"

    def identity(self) -> dict[str, Any]:
        """All that guided samples depend on but the model, as JSON."""
        parameters = [np.asarray(leaf) for leaf in jax.tree.leaves(self.classifier)]
        found = {"strategy": repr(self.strategy), "classifier": fingerprint(parameters)}
        if not self.strategy.needs_table:
            return found
        return found | {"version": VERSION, "measured_on": fingerprint(self.held_out())}
