"""Ways of guiding a model to a class, by name and with the numbers that each of them takes.

free        classifier_free.py, scale within (low, high), the conditional model elsewhere
amplified   a classifier's gradient times scale                       papers/003, section 5.3
linear      times scale at the prior, falling to last_scale at the data         strategy 2
truncated   times scale within (low, high), the classifier being told at most
            s_max_classifier                                                    strategy 3
automatic   automatic_guidance.py, which has no numbers
"""

import dataclasses
import math
from collections.abc import Callable

from controllable.automatic.guidance import ScaleTable, automatic_guidance
from controllable.classifier_free import classifier_free
from controllable.classifier_guidance import classifier_guidance
from controllable.schedules import Constant, Interval, Linear
from metrics.calibration import Classifier
from parameterization import Predictor
from sde_lib import Process

Guidance = Callable[[Predictor], Predictor]


@dataclasses.dataclass(frozen=True)
class Strategy:
    """A row of the table; levels are s = sigma / alpha.

    Attributes:
      name: of the table. scale, last_scale: see there. low, high: the zone of guidance.
      s_max_classifier: the highest level that the classifier of "truncated" is told.
    """

    name: str = "free"
    scale: float = 2.0
    last_scale: float = 1.0
    low: float = 0.0
    high: float = math.inf
    s_max_classifier: float = math.inf

    def __post_init__(self) -> None:
        if self.name not in STRATEGIES:
            raise ValueError(f"strategy: got {self.name!r}, expected one of {sorted(STRATEGIES)}")
        for field in ("scale", "last_scale", "low"):
            if not getattr(self, field) >= 0:
                raise ValueError(f"{field}: got {getattr(self, field)}, expected 0 or more")
        if not self.low < self.high:
            raise ValueError(f"low: got {self.low}, expected less than high = {self.high}")
        if not self.s_max_classifier > 0:
            raise ValueError(
                f"s_max_classifier: got {self.s_max_classifier}, expected a positive number"
            )

    @property
    def needs_classifier(self) -> bool:
        return self.name != "free"

    def guidance(
        self,
        process: Process,
        null_label: int | None,
        classifier: Classifier | None = None,
        table: ScaleTable | None = None,
    ) -> Guidance:
        """The argument of `sampling.sample`.

        null_label: by which the score network knows no class; None if it has no classes.
        classifier: for all but "free". table: for "automatic", of these two networks.
        """
        if self.needs_classifier and classifier is None:
            raise ValueError(f"classifier: got none, but the strategy {self.name!r} needs one")
        return STRATEGIES[self.name](self, process, null_label, classifier, table)


def _free(strategy: Strategy, process, null_label, classifier, table) -> Guidance:
    if null_label is None:
        raise ValueError(
            "strategy: 'free' needs a model of classes that was trained with loss.label_dropout, "
            "so that it knows what no class is"
        )
    inside = Constant(strategy.scale)
    return classifier_free(
        Interval(inside, strategy.low, strategy.high, outside=1.0), null_label
    )  # fmt: skip


def _amplified(strategy: Strategy, process, null_label, classifier, table) -> Guidance:
    return classifier_guidance(classifier, strategy.scale, null_label)


def _linear(strategy: Strategy, process, null_label, classifier, table) -> Guidance:
    schedule = Linear(strategy.scale, strategy.last_scale, process.t_max)
    return classifier_guidance(classifier, schedule, null_label)


def _truncated(strategy: Strategy, process, null_label, classifier, table) -> Guidance:
    limit = strategy.s_max_classifier
    return classifier_guidance(
        classifier,
        Interval(Constant(strategy.scale), strategy.low, strategy.high),
        null_label,
        process=process,
        s_max_classifier=limit if math.isfinite(limit) else None,
    )


def _automatic(strategy: Strategy, process, null_label, classifier, table) -> Guidance:
    if table is None:
        raise ValueError("table: got none, but the strategy 'automatic' needs one")
    return automatic_guidance(classifier, table, null_label)


STRATEGIES: dict[str, Callable[..., Guidance]] = {
    "free": _free,
    "amplified": _amplified,
    "linear": _linear,
    "truncated": _truncated,
    "automatic": _automatic,
}
