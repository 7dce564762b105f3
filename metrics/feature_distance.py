"""How unlike two images look to a feature network.

    d(a, b) = |f(a) / |f(a)| - f(b) / |f(b)||^2 = 2 - 2 cos(f(a), f(b))                    (1)

is the distance of LPIPS (Zhang et al. 2018, eq. 1) with one layer, the extractor's features, and no
weights fitted to people's judgement. It means something beside a value for other pairs of images
and the same extractor, such as `between`.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8

from metrics.features import FeatureExtractor, extract
from options.choices import require


@dataclasses.dataclass(frozen=True)
class FeatureDistance:
    """(1) by an extractor. batch_size: of the network."""

    extractor: FeatureExtractor
    batch_size: int = 64

    def directions(self, images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n dim"]:
        """f / |f| of every image, 0 where f is 0."""
        features = extract(self.extractor, images, self.batch_size, progress=False).features
        length = np.linalg.norm(features, axis=1, keepdims=True)
        return features / np.maximum(length, 1e-12)

    def __call__(
        self, a: UInt8[np.ndarray, "n h w c"], b: UInt8[np.ndarray, "n h w c"]
    ) -> Float[np.ndarray, "n"]:
        """(1) of each pair, in [0, 4]."""
        return np.sum((self.directions(a) - self.directions(b)) ** 2, axis=1)

    def between(self, images: UInt8[np.ndarray, "n h w c"]) -> float:
        """The mean of (1) over all pairs of different images."""
        n = len(images)
        require(n >= 2, "images", n, "at least 2")
        found = self.directions(images)
        cosines = (np.sum(found.sum(0) ** 2) - np.sum(found**2)) / (n * (n - 1))
        return float(2 - 2 * cosines)
