"""Metrics with what they mean beside them, as JSON and as lines to read."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from storage import json_text


@dataclass(frozen=True)
class Figure:
    """One number of a report.

    name: what it is, with its unit if it has one.
    samples: how many images it is computed from, and `reference` what they are compared with.
    standard_error: of the value; None where it has none. interval: of 95 %.
    extractor: identity of the feature network. preprocessing: of images before it, and what its
        weights are. detail: what else the number depends on. solver, evaluations: how the samples
        were drawn or the likelihood integrated, and the mean number of network evaluations of one
        image.
    """

    name: str
    value: float
    samples: int
    standard_error: float | None = None
    extractor: str | None = None
    reference: str | None = None
    solver: str | None = None
    evaluations: float | None = None
    preprocessing: str | None = None
    interval: tuple[float, float] | None = None
    detail: str | None = None

    @staticmethod
    def mean(name: str, values: Float[np.ndarray, "n"], **about: Any) -> "Figure":
        """The mean of one value an image, with its standard error."""
        n = len(values)
        error = float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else None
        return Figure(name, float(np.mean(values)), n, error, **about)

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" +- {self.standard_error:.2g}"
        parts = [] if self.interval is None else ["95 % in {:.4g} to {:.4g}".format(*self.interval)]
        parts += [f"{self.samples} samples"]
        parts += [] if self.reference is None else [f"against {self.reference}"]
        parts += [] if self.extractor is None else [self.extractor]
        parts += [said for said in (self.preprocessing, self.detail) if said]
        parts += [] if self.evaluations is None else [f"{self.evaluations:.0f} evaluations"]
        return f"{self.name:<24}{self.value:>10.4f}{error:<12} {', '.join(parts)}"


@dataclass(frozen=True)
class Report:
    """about: what was evaluated. figures: the numbers. details: histograms, quantiles and such."""

    about: Mapping[str, Any]
    figures: list[Figure]
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For JSON: metrics without the fields that do not apply to them; numbers that are not
        finite are None."""
        figures = [{k: v for k, v in asdict(f).items() if v is not None} for f in self.figures]
        found = {"about": dict(self.about), "figures": figures, "details": dict(self.details)}
        return json_text.plain(found)

    def write(self, path: str | Path) -> None:
        """As JSON, whole or not at all."""
        json_text.write(path, self.to_json())

    def __str__(self) -> str:
        return "\n".join(str(figure) for figure in self.figures)
