"""Feature statistics of a data set, computed once and kept in an npz.

The extractor's identity is stored with them and checked at reading: statistics of another network,
or of the same one with other weights, give a number that looks like an FID and is none.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Array, Float32

from metrics.features import FeatureExtractor
from metrics.fid import Moments
from options.errors import InvalidValue, Words
from storage import npz
from storage.files import atomic_write


@dataclass(frozen=True)
class Statistics:
    """What FID and KID need of a data set.

    extractor: `FeatureExtractor.identity`.
    data: name of the set, with its split and any resizing.
    features: kept for KID; an empty (0, dim) array where only the moments are known.
    preprocessing: of the extractor, and what its weights are, as figures say it.
    """

    extractor: str
    data: str
    moments: Moments
    features: Float32[np.ndarray, "n dim"]
    preprocessing: str = ""

    @staticmethod
    def of(
        extractor: FeatureExtractor, data: str, features: Float32[Array | np.ndarray, "n dim"]
    ) -> "Statistics":
        """Statistics of features that `extractor` gave."""
        x = np.asarray(features)
        return Statistics(extractor.identity, data, Moments.of(x), x, extractor.about)

    def save(self, path: Path) -> None:
        """Written whole or not at all; InvalidValue where the number of images is not known."""
        count = self.moments.count
        if count is None:
            raise InvalidValue(str(path), but=f"{self.data} does not say its number of images")
        with atomic_write(path) as file:
            np.savez_compressed(
                file,
                extractor=self.extractor,
                data=self.data,
                count=count,
                mean=self.moments.mean,
                covariance=self.moments.covariance,
                features=self.features,
            )

    @staticmethod
    def load(path: Path, extractor: FeatureExtractor) -> "Statistics":
        """Read; InvalidValue for a file of something else, or that another extractor made."""
        try:
            found = npz.read(path, ("extractor", "data", "count", "mean", "covariance", "features"))
        except (KeyError, *npz.UNREADABLE) as error:
            raise InvalidValue(str(path), but=f"it holds no statistics: {error}") from None
        if str(found["extractor"]) != extractor.identity:
            got = Words(f"statistics of {found['extractor']}")
            raise InvalidValue(str(path), got, extractor.identity)
        moments = Moments(int(found["count"]), found["mean"], found["covariance"])
        data, features = str(found["data"]), found["features"]
        return Statistics(extractor.identity, data, moments, features, extractor.about)
