"""Statistics files of other programs, read and written.

    mu (2048,), sigma (2048, 2048)    pytorch-fid's, and that of most published FIDs
    pool_3 (n, 2048)                  activations: the `*_stats.npz` of Song et al. 2021

Neither says which network and which resizing it was made by, nor, of the first, of how many images.
Who reads one states the extractor (`stated`), or takes what such files are usually made by; either
is said in the name of the data. One of another extractor than that of the samples is refused.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metrics.features import FeatureExtractor
from metrics.fid import Moments
from metrics.statistics import Statistics
from options.choices import require
from options.errors import InvalidValue, Words
from storage import npz
from storage.files import atomic_write

Read = tuple[Moments, np.ndarray]


def _moments(path: Path) -> Read:
    found = npz.read(path, ("mu", "sigma"))
    mean, covariance = (np.asarray(found[name], np.float64) for name in ("mu", "sigma"))
    dim = len(mean)
    if mean.ndim != 1 or covariance.shape != (dim, dim):
        raise ValueError(f"mu of {mean.shape} and sigma of {covariance.shape}")
    return Moments(None, mean, covariance), np.zeros((0, dim), np.float32)


def _activations(path: Path) -> Read:
    x = np.asarray(npz.read(path, ("pool_3",))["pool_3"], np.float32)
    x = x.reshape(-1, x.shape[-1])
    return Moments.of(x), x


class Layout(NamedTuple):
    """A kind of file.

    Attributes:
      arrays: by which it is known. usual: the extractor by which such files are usually made.
    """

    arrays: frozenset[str]
    usual: str
    read: Callable[[Path], Read]


LAYOUTS = (
    Layout(frozenset({"mu", "sigma"}), "inception", _moments),
    Layout(frozenset({"pool_3"}), "inception_tf1", _activations),
)


def layout_of(path: Path) -> Layout | None:
    """The layout of a file; None for one of ours, or of nothing known."""
    try:
        names = npz.stand_ins(path).keys()
    except npz.UNREADABLE:
        return None
    return next((layout for layout in LAYOUTS if layout.arrays <= names), None)


def load(path: Path, extractor: FeatureExtractor, stated: str = "") -> Statistics:
    """Statistics of a reference set, from a file of ours or of another program.

    Args:
      stated: the name of the extractor that made the file, of one that does not say so; "" for the
        usual one.

    Raises:
      InvalidValue: for a file of something else, or of another extractor.
    """
    layout = layout_of(path)
    if layout is None:
        require(not stated, "reference_by", stated, "none, for a file that says it itself")
        return Statistics.load(path, extractor)
    by, how = (stated, "as stated") if stated else (layout.usual, "which is assumed")
    arrays = " and ".join(sorted(layout.arrays))
    if by != extractor.name:
        got = Words(f"statistics ({arrays}) made by {by}, {how}")
        raise InvalidValue(str(path), got, f"those of {extractor.name}; or state which made them")
    try:
        moments, features = layout.read(path)
    except npz.UNREADABLE as error:
        raise InvalidValue(str(path), but=f"it holds no statistics: {error}") from None
    if moments.mean.size != extractor.dim:
        got = Words(f"statistics of {moments.mean.size} features")
        raise InvalidValue(str(path), got, f"{extractor.dim}, as {extractor.name} has")
    data = f"{path.name}: {arrays} of {by}, {how}"
    return Statistics(extractor.identity, data, moments, features, extractor.about)


def write_moments(path: Path, statistics: Statistics) -> None:
    """As pytorch-fid reads them; whole or not at all."""
    with atomic_write(path) as file:
        np.savez(file, mu=statistics.moments.mean, sigma=statistics.moments.covariance)


def write_activations(path: Path, statistics: Statistics) -> None:
    """As the evaluation of Song et al. 2021 reads them; whole or not at all."""
    require(len(statistics.features), "save-as", Words("moments alone"), "activations, to be saved")
    with atomic_write(path) as file:
        np.savez_compressed(file, pool_3=statistics.features)


WRITERS: dict[str, Callable[[Path, Statistics], None]] = {
    "own": lambda path, statistics: statistics.save(path),
    "moments": write_moments,
    "activations": write_activations,
}
