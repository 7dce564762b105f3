"""The interval that pixel values live in.

The core works in the range of the process's data; the edges (uint8, PNG, bits/dim) use [0, 1].
With k an 8-bit grey level, y in [k, k + 1) that level dequantised, and D dimensions:

    unit = k / 255                                          (1)
    x = low + width unit,  width = high - low               (2)
    x = low + width y / 256                                 (3)
    log p(y) = log p(x) + D log(width / 256)                (4)
"""

from dataclasses import dataclass
from math import log, log2
from typing import Any

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True)
class Range:
    """Pixel values in [low, high]. Arrays may be numpy's or JAX's, of any shape."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"range: got low {self.low} and high {self.high}, expected low < high")

    @property
    def width(self) -> float:
        return self.high - self.low

    @property
    def log2_jacobian(self) -> float:
        """log2 of d unit / d x: 0 for [0, 1], -1 for [-1, 1]."""
        return -log2(self.width)

    def from_unit(self, unit: Any) -> Any:
        """[0, 1] to [low, high], equation (2)."""
        return self.low + self.width * unit

    def to_unit(self, x: Any) -> Any:
        """[low, high] to [0, 1], equation (2). Not clipped."""
        return (x - self.low) / self.width

    def from_uint8(self, levels: Any) -> Any:
        """Grey levels 0..255 to float32 in [low, high], equations (1) and (2)."""
        return self.from_unit(levels.astype(np.float32) / 255)

    def to_uint8(self, x: Any) -> UInt8[np.ndarray, "..."]:
        """[low, high] to the nearest of the grey levels 0..255; what lies outside is clipped."""
        return np.rint(255 * np.clip(self.to_unit(np.asarray(x)), 0, 1)).astype(np.uint8)

    def bits_per_dim(self, log_p: Any, dimensions: int) -> Any:
        """Bits per dimension of 8-bit data whose dequantised form has density `log_p` (nats).

        -log p(y) / (D ln 2), which by equation (4) is -log p(x) / (D ln 2) + 8 - log2(width):
        the constant is 8 for [0, 1] and 7 for [-1, 1].
        """
        return -log_p / (dimensions * log(2)) + 8 + self.log2_jacobian


UNIT = Range(0.0, 1.0)
CENTERED = Range(-1.0, 1.0)
