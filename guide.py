"""Guidance of an image model towards a class: a strategy, and what it is measured on.

`builders.guide` makes one of a config; `--mode sample`, the samples of `--mode eval` and every task
of `--mode control` are guided by it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from calibration import Classifier
from controllable.guidance_measurement import Measured, measure
from controllable.strategies import Strategy
from metrics.resumable import fingerprint
from parameterization import Predictor
from sde_lib import Process


@dataclasses.dataclass(frozen=True, eq=False)
class Guide:
    """A guidance: predictor to predictor, towards the classes `labels` of a run's cond.

    process, null_label: of the model; null_label None for one without classes.
    classifier: for all strategies but "free".
    held_out: gives data that neither network was trained on, in the process's range, with their
      classes; on them "automatic" measures its scales, once for each predictor that it guides.
    """

    strategy: Strategy
    process: Process
    null_label: int | None
    classifier: Classifier | None
    held_out: Callable[[], tuple[Array, np.ndarray]]

    def __call__(self, predict: Predictor) -> Predictor:
        table = self.measured(predict).table() if self.strategy.name == "automatic" else None
        guidance = self.strategy.guidance(self.process, self.null_label, self.classifier, table)
        return guidance(predict)

    def measured(self, predict: Predictor) -> Measured:
        """What automatic guidance of this predictor goes by, with a progress bar."""
        x_0, labels = self.held_out()
        with tqdm(desc="measuring guidance", unit="level") as bar:

            def progress(done: int, levels: int) -> None:
                bar.total = levels
                bar.update(done - bar.n)

            assert self.classifier is not None
            return measure(
                jax.random.key(0),
                self.process,
                predict,
                self.classifier,
                x_0,
                labels,
                null_label=self.null_label,
                progress=progress,
            )

    def identity(self) -> dict[str, Any]:
        """All that guided samples depend on but the model, as JSON."""
        parameters = [np.asarray(leaf) for leaf in jax.tree.leaves(self.classifier)]
        return {"strategy": repr(self.strategy), "classifier": fingerprint(parameters)}
