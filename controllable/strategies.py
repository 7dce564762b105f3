"""Ways of guiding a model to a class, by name, each with the numbers that it takes and no others.

free        classifier_free.py: scale within (low, high), the conditional model elsewhere
amplified   a classifier's gradient times scale                    Traore 2025, sec. 5.3, strategy 1
linear      times scale at the prior, falling to last_scale at the data               strategy 2
truncated   times scale within (low, high), the noise level given to the classifier
            clamped at s_max_classifier                                               strategy 3
zones       the same, with a zone for each class                            strategy 3, by class
automatic   automatic/: by measurements on held-out data

Levels are s = sigma / alpha. (Traore 2025: "From Noise to Images: Implementing Score-Based
Generative Models using Stochastic Differential Equation".)
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from controllable import schedules
from controllable.automatic.guidance import ScaleTable, automatic_guidance
from controllable.classifier_free import classifier_free
from controllable.classifier_guidance import classifier_guidance
from metrics.calibration import Classifier
from options.choices import MOST_SAMPLES, require, require_count, require_non_negative
from options.errors import InvalidValue, Words
from parameterization import Predictor
from sde_lib import Process
from tasks.conditions import Condition

Guidance = Callable[[Predictor], Predictor]


class GuidanceInputs(NamedTuple):
    """What a strategy makes a guidance of.

    Attributes:
      process: of the score network.
      conditions: of the score network.
      classifier, table: a classifier of noisy states, and what was measured of it with the score
        network; None where the strategy needs none.
    """

    process: Process
    conditions: Sequence[Condition] = ()
    classifier: Classifier | None = None
    table: ScaleTable | None = None

    def required_classifier(self) -> Classifier:
        """The classifier; InvalidValue for none."""
        if self.classifier is None:
            raise InvalidValue("classifier", Words("none"), "one, which this strategy follows")
        return self.classifier

    def required_table(self) -> ScaleTable:
        """The measurements; InvalidValue for none."""
        if self.table is None:
            raise InvalidValue("table", Words("none"), "one, which this strategy follows")
        return self.table


@runtime_checkable
class Strategy(Protocol):
    """A row of the table.

    Attributes:
      needs_classifier: whether it follows a classifier of noisy states.
      needs_table: whether it follows measurements of that classifier with the score network.
    """

    needs_classifier: ClassVar[bool]
    needs_table: ClassVar[bool]

    def guidance(self, inputs: GuidanceInputs) -> Guidance:
        """The argument of `sampling.sample`.

        Raises:
          InvalidValue: no classifier or table where one is needed; a score network that has no
            unconditional prediction to guide from.
        """
        ...


def _check_zone(low: float, high: float) -> None:
    """InvalidValue for a zone of guidance that is empty."""
    require(low < high, "low", low, f"less than high = {high}")


@dataclasses.dataclass(frozen=True)
class ClassifierFree:
    """Classifier-free guidance by all conditions that training dropped.

    Attributes:
      scale: 1 is the conditional model, 0 the unconditional one.
      low, high: the zone of guidance, outside of which the model is the conditional one.
    """

    needs_classifier: ClassVar[bool] = False
    needs_table: ClassVar[bool] = False
    scale: float = 2.0
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        require_non_negative(self, "scale", "low")
        _check_zone(self.low, self.high)

    def guidance(self, inputs: GuidanceInputs) -> Guidance:
        inside = schedules.Constant(self.scale)
        everywhere = self.scale == 1 or (self.low, self.high) == (0, math.inf)
        zone = schedules.Interval(inside, self.low, self.high, outside=1.0)
        return classifier_free(inside if everywhere else zone, inputs.conditions)


@dataclasses.dataclass(frozen=True)
class Amplified:
    """A classifier's gradient times a constant.

    Attributes:
      scale: 1 is Bayes' rule.
    """

    needs_classifier: ClassVar[bool] = True
    needs_table: ClassVar[bool] = False
    scale: float = 2.0

    def __post_init__(self) -> None:
        require_non_negative(self, "scale")

    def schedule(self, process: Process) -> schedules.Schedule:
        """The scale at each noise level."""
        return schedules.Constant(self.scale)

    def guidance(self, inputs: GuidanceInputs) -> Guidance:
        schedule = self.schedule(inputs.process)
        return classifier_guidance(inputs.required_classifier(), schedule, inputs.conditions)


@dataclasses.dataclass(frozen=True)
class Linear:
    """A classifier's gradient times a scale that is linear in time.

    Attributes:
      scale, last_scale: at the prior and at the data.
    """

    needs_classifier: ClassVar[bool] = True
    needs_table: ClassVar[bool] = False
    scale: float = 2.0
    last_scale: float = 1.0

    def __post_init__(self) -> None:
        require_non_negative(self, "scale", "last_scale")

    def schedule(self, process: Process) -> schedules.Schedule:
        """The scale at each noise level."""
        return schedules.Linear(self.scale, self.last_scale, process.t_max)

    def guidance(self, inputs: GuidanceInputs) -> Guidance:
        schedule = self.schedule(inputs.process)
        return classifier_guidance(inputs.required_classifier(), schedule, inputs.conditions)


@dataclasses.dataclass(frozen=True)
class Truncated:
    """A classifier's gradient times a constant within a zone, and nothing outside.

    Attributes:
      scale: within the zone.
      low, high: the zone of guidance.
      s_max_classifier: the noise level given to the classifier is clamped here.
    """

    needs_classifier: ClassVar[bool] = True
    needs_table: ClassVar[bool] = False
    scale: float = 2.0
    low: float = 0.0
    high: float = math.inf
    s_max_classifier: float = math.inf

    def __post_init__(self) -> None:
        require_non_negative(self, "scale", "low")
        _check_zone(self.low, self.high)
        limit = self.s_max_classifier
        require(limit > 0, "s_max_classifier", limit, "a positive number")

    def schedule(self, process: Process) -> schedules.Schedule:
        """The scale at each noise level."""
        return schedules.Interval(schedules.Constant(self.scale), self.low, self.high)

    def guidance(self, inputs: GuidanceInputs) -> Guidance:
        limit = self.s_max_classifier
        return classifier_guidance(
            inputs.required_classifier(),
            self.schedule(inputs.process),
            inputs.conditions,
            process=inputs.process,
            s_max_classifier=limit if math.isfinite(limit) else None,
        )


@dataclasses.dataclass(frozen=True)
class Zones:
    """A classifier's gradient times a constant within a zone of each class, and nothing outside.

    Attributes:
      scale: within the zones.
      low, high: the zones of guidance, a number for each class, or one number for all.
      s_max_classifier: the noise level given to the classifier is clamped here.
    """

    needs_classifier: ClassVar[bool] = True
    needs_table: ClassVar[bool] = False
    scale: float = 2.0
    low: tuple[float, ...] = (0.1,)
    high: tuple[float, ...] = (10.0,)
    s_max_classifier: float = math.inf

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            ends = getattr(self, name)
            require(ends and all(map(math.isfinite, ends)), name, ends, "finite numbers, some")
        counts = sorted({len(self.low), len(self.high)} - {1})
        expected = f"as many as high, {len(self.high)}, or one number"
        require(len(counts) < 2, "low", self.low, expected)
        self.each()

    def each(self) -> tuple[Truncated, ...]:
        """The strategy of each class; one for all where there is one zone."""
        count = max(len(self.low), len(self.high))
        low, high = (ends * count if len(ends) == 1 else ends for ends in (self.low, self.high))
        return tuple(
            Truncated(self.scale, *zone, self.s_max_classifier)
            for zone in zip(low, high, strict=True)
        )

    def guidance(self, inputs: GuidanceInputs) -> Guidance:
        limit = self.s_max_classifier
        return classifier_guidance(
            inputs.required_classifier(),
            tuple(strategy.schedule(inputs.process) for strategy in self.each()),
            inputs.conditions,
            process=inputs.process,
            s_max_classifier=limit if math.isfinite(limit) else None,
        )


@dataclasses.dataclass(frozen=True)
class Automatic:
    """A classifier's gradient with a zone, scales and a gain that are measured.

    Attributes:
      images: held-out images on which they are measured.
    """

    needs_classifier: ClassVar[bool] = True
    needs_table: ClassVar[bool] = True
    images: int = 512

    def __post_init__(self) -> None:
        require_count("images", self.images, 2, MOST_SAMPLES)

    def guidance(self, inputs: GuidanceInputs) -> Guidance:
        classifier = inputs.required_classifier()
        return automatic_guidance(classifier, inputs.required_table(), inputs.conditions)


STRATEGIES: dict[str, type[Strategy]] = {
    "free": ClassifierFree,
    "amplified": Amplified,
    "linear": Linear,
    "truncated": Truncated,
    "zones": Zones,
    "automatic": Automatic,
}
