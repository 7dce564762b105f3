"""What is measured of a model while it trains: numbers at intervals, beside the training.

A measurement reads the averaged parameters and nothing else of the run, so that a run with
measurements has the bits of one without. One that fails is said, and training goes on.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jax.errors import JaxRuntimeError

from options.errors import NotFinite, UserError
from tasks.task import Context
from training import parallel
from training.parallel import State
from training.program import return_free_memory
from training.telemetry import Telemetry

# What a plot or a measurement may fail with while the training beside it is sound; whatever else it
# raises is a fault of the program.
SURVIVED = (UserError, OSError, JaxRuntimeError, MemoryError, np.linalg.LinAlgError)


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@runtime_checkable
class Measurement(Protocol):
    """Numbers that say how good a model is, a function of its parameters; hashable.

    Attributes:
      about: what is measured, of what, in words.
      metric: the name of a number that it always gives, which no other measurement does.
      every: steps from one to the next, at least 1.
      field: of the configuration, 0 for none of it.
      is_heavy: whether it may need more memory, or much more time, than a step of the training, so
        that the step is saved before it.
    """

    @property
    def about(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def every(self) -> int: ...

    @property
    def field(self) -> str: ...

    @property
    def is_heavy(self) -> bool: ...

    def __call__(self, context: Context, at_once: int) -> dict[str, float]:
        """The numbers by name, computed on the devices of this host.

        Args:
          context: the averaged parameters, on the host, as `params` and as `ema`.
          at_once: examples that a device can differentiate at once, and so evaluate.
        """
        ...


class Measuring:
    """The measurements of one run, and the step at which each was last made.

    The first process makes them; the others are there where the parameters are gathered.
    """

    def __init__(self, measurements: Sequence[Measurement], log: Telemetry, steps: int) -> None:
        self._log, self._steps = log, steps
        self._newest = {m: parallel.largest(log.newest(m.metric)) for m in measurements}
        self._compiled: set[Measurement] = set()

    def begin(self) -> None:
        """Say what will be measured."""
        for measurement in self._newest:
            self._log.say(f"measured every {measurement.every:,} steps: {measurement.about}")

    def due(self, step: int) -> list[Measurement]:
        """What is to be measured at `step`, where a dispatch ended or a run is resumed.

        That is what has a multiple of its interval between the newest step in the log and this one,
        also where a killed run was about to measure it; and at the last step, all but what has an
        interval longer than the run.
        """
        return [m for m, newest in self._newest.items() if self._latest(step, m.every) > newest]

    def _latest(self, step: int, every: int) -> int:
        """The last step up to `step` that something of this interval belongs to; 0 for none."""
        return step if step == self._steps >= every else step // every * every

    def __call__(self, due: Sequence[Measurement], step: int, state: State, at_once: int) -> None:
        """Measure what is due at `step`, by the averaged parameters; see `Measurement`."""
        if not due:
            return
        context = parallel.averaged(state)
        for measurement in due:
            self._newest[measurement] = step
            if self._log.active:
                self._measure(measurement, step, context, at_once)

    def _measure(self, measurement: Measurement, step: int, context: Context, at_once: int) -> None:
        if measurement not in self._compiled:
            self._log.say(f"step {step}: compiling, to measure {measurement.about}")
        try:
            values = measurement(context, at_once)
            if strange := [name for name, value in values.items() if not np.isfinite(value)]:
                raise NotFinite(strange[0], values[strange[0]], "a finite number")
            self._log.measured(step, values)
        except SURVIVED as error:
            self._log.say(
                f"step {step}: no {measurement.metric}, training goes on: "
                f"{first_line(error)}. Ask for none by {measurement.field}=0"
            )
        if measurement not in self._compiled:
            self._compiled.add(measurement)
            return_free_memory()
