"""Distances between two sets of features by name, each with its protocol.

A distance means nothing without the extractor, its preprocessing, both numbers of images and what
the reference is: they stand in every figure. Features of two networks are never compared.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from metrics.bootstrap import fid_replicates, interval, kid_replicates
from metrics.fid import frechet_distance
from metrics.fid_infinity import fid_infinity
from metrics.kid import kid
from metrics.mind import mind
from metrics.precision_recall import precision_recall
from metrics.report import Figure
from metrics.statistics import Statistics
from options.choices import choose
from options.errors import InvalidValue, Words
from options.progress import busy

DEFAULT = "fid,kid"


class Estimate(NamedTuple):
    """A number, what is known of its error, and what it depends on beside images and features."""

    value: float
    standard_error: float | None = None
    interval: tuple[float, float] | None = None
    detail: str | None = None


Found = dict[str, Estimate]


def _resampled(value: float, replicates: Any, detail: str = "") -> Estimate:
    found = interval(value, replicates)
    said = [detail] * bool(detail) + [f"{len(replicates)} bootstrap replicates of the samples"]
    return Estimate(value, found.standard_error, (found.low, found.high), ", ".join(said))


def _fid(samples: Statistics, reference: Statistics, replicates: int) -> Found:
    value = frechet_distance(samples.moments, reference.moments)
    if not replicates:
        return {"fid": Estimate(value)}
    drawn = fid_replicates(samples.features, reference.moments, replicates)
    return {"fid": _resampled(value, drawn)}


def _kid(samples: Statistics, reference: Statistics, replicates: int) -> Found:
    found = kid(samples.features, reference.features)
    detail = f"{found.subsets} subsets of {found.subset_size}"
    if not replicates:
        return {"kid": Estimate(found.value, found.standard_error, None, detail)}
    drawn = kid_replicates(samples.features, reference.features, replicates)
    return {"kid": _resampled(found.value, drawn, detail)}


def _precision_recall(samples: Statistics, reference: Statistics, replicates: int) -> Found:
    found = precision_recall(samples.features, reference.features)
    detail = f"k = {found.neighbours}"
    return {
        "precision": Estimate(found.precision, detail=detail),
        "recall": Estimate(found.recall, detail=detail),
    }


def _mind(samples: Statistics, reference: Statistics, replicates: int) -> Found:
    found = mind(samples.features, reference.features)
    detail = f"{found.directions} directions"
    return {"mind": Estimate(found.value, found.standard_error, detail=detail)}


def _fid_infinity(samples: Statistics, reference: Statistics, replicates: int) -> Found:
    found = fid_infinity(samples.features, reference.moments)
    detail = f"{len(found.counts)} subsets of {found.counts[0]} to {found.counts[-1]}"
    return {"fid_infinity": Estimate(found.value, detail=detail)}


class Distance(NamedTuple):
    """A row of the table.

    Attributes:
      estimate: (samples, reference, replicates of the bootstrap or 0) -> estimates by name.
      of_moments: whether the moments of the reference are enough.
    """

    estimate: Callable[[Statistics, Statistics, int], Found]
    of_moments: bool = False


DISTANCES = {
    "fid": Distance(_fid, of_moments=True),
    "kid": Distance(_kid),
    "precision_recall": Distance(_precision_recall),
    "mind": Distance(_mind),
    "fid_infinity": Distance(_fid_infinity, of_moments=True),
}


def parse(text: str, field: str = "metrics") -> list[str]:
    """Names of DISTANCES that are given with commas between them; InvalidValue for others."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        choose(DISTANCES, name, field)
    return names


def distances(
    samples: Statistics,
    reference: Statistics,
    chosen: Sequence[str] = tuple(parse(DEFAULT)),
    replicates: int = 0,
    **about: Any,
) -> list[Figure]:
    """The chosen distances of samples to a reference set, from features of one extractor.

    Those that need features are left out where the reference has moments alone, which is said.

    Args:
      replicates: of the bootstrap, by which FID and KID get intervals; 0 for none.
      about: further fields of every figure.
    """
    if samples.extractor != reference.extractor:
        got = Words(f"features of {samples.extractor} and {reference.extractor}")
        raise InvalidValue("extractor", got, "those of one network")
    possible = [name for name in chosen if DISTANCES[name].of_moments or len(reference.features)]
    if without := [name for name in chosen if name not in possible]:
        print(f"{reference.data} has moments and no features: no {', '.join(without)}")
    count = reference.moments.count
    shared: dict[str, Any] = about | {
        "samples": samples.moments.count,
        "extractor": samples.extractor,
        "preprocessing": samples.preprocessing or None,
        "reference": f"{reference.data} ({'number unknown' if count is None else count})",
    }
    figures = []
    for name in possible:
        with busy(f"{name} of {samples.data}"):
            found = DISTANCES[name].estimate(samples, reference, replicates)
        figures += [Figure(key, **estimate._asdict(), **shared) for key, estimate in found.items()]
    return figures
