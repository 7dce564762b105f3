"""Between the data that a user sees and the states that a process moves.

8-bit images become states in an interval [low, high]. With k a grey level, y in [k, k + 1) that
level dequantised, and D dimensions:

    x = low + width k / 255,   width = high - low           (1)
    x = low + width y / 256                                 (2)
    log p(y) = log p(x) + D log(width / 256)                (3)

Real-valued data z (fields, latents, strokes) are standardised:

    x = (z - mean) / std                                    (4)

Pen movements (dx, dy, pen), see `data.strokes`, have one standard deviation for both directions:

    x = (dx / std, dy / std, pen)                           (5)
"""

from abc import abstractmethod
from dataclasses import dataclass
from math import log, log2
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, UInt8

from data.source import Source
from options.choices import require
from options.errors import InvalidValue


@runtime_checkable
class Space(Protocol):
    """What states are in terms of the data. Derive from it to inherit what only pixels have.

    Arrays may be numpy's or JAX's, of any shape with channels last.

    Attributes:
      low, high: the interval that states of data lie in; None where there is none.
      of_images: whether the data are 8-bit images.
      is_pixels: whether states are their grey levels, which have bits per dimension.
      pixels: the range in which a measurement takes images, as Pixels; None where there are none.
    """

    low: float | None
    high: float | None
    of_images: ClassVar[bool] = False
    is_pixels: ClassVar[bool] = False
    pixels: ClassVar[Any] = None

    @property
    @abstractmethod
    def unit(self) -> Any:
        """What a difference of 1 between states is in the units of the data."""
        ...

    @abstractmethod
    def encode(self, data: Any) -> Any:
        """Data as states, float32."""
        ...

    @abstractmethod
    def decode(self, x: Any) -> Any:
        """States as data, of the data's own type."""
        ...

    def check(self, source: Source) -> None:
        """InvalidValue where the examples of `source` are no data of this space."""
        ...

    def check_transform(self, transform: Any) -> None:
        """InvalidValue for what cannot be done to examples on their way to states of this space;
        see `data.transforms.Transform`."""
        return

    def shape(self, of: tuple[int, ...]) -> tuple[int, ...]:
        """Of the states of examples of this shape."""
        return of

    def for_training(self, source: Source, transform: Any, folder: Path) -> tuple[Source, Any]:
        """What a training reads in place of examples, and the transform that makes states of it;
        what takes long to make is kept in `folder`."""
        return source, transform

    # Of images.

    def on_states(self, operator: Any) -> Any:
        """An operator on images in the range of `pixels`, as one on states."""
        raise self._no("8-bit images")

    def to_unit(self, x: Any) -> Any:
        """States as images in [0, 1], not clipped."""
        raise self._no("8-bit images")

    def in_range(self, x: Any, sigma: Any) -> Any:
        """States with noise of this standard deviation, shrunk so that they can be shown."""
        raise self._no("8-bit images")

    def from_uint8(self, levels: Any) -> Any:
        """8-bit images as states; InvalidValue where the data are none."""
        raise self._no("8-bit images")

    def to_uint8(self, x: Any) -> UInt8[np.ndarray, "..."]:
        """States as 8-bit images; InvalidValue where the data are none."""
        raise self._no("8-bit images")

    def dequantized(self, levels: Any, u: Any) -> Any:
        """8-bit images, with noise u in [0, 1) within each level, as states."""
        raise self._no("dequantisation")

    def bits_per_dim(self, log_p: Any, dimensions: Any) -> Any:
        """Bits per dimension of data whose states have density `log_p`, in nats."""
        raise self._no("bits per dimension")

    def _no(self, what: str) -> InvalidValue:
        return InvalidValue("space", self, f"Pixels, since only 8-bit pixels have {what}")


@dataclass(frozen=True)
class Pixels(Space):
    """8-bit images, as states in [low, high].

    Attributes:
      low, high: the states of black and of white.
    """

    low: float = 0.0
    high: float = 1.0
    of_images: ClassVar[bool] = True
    is_pixels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.low < self.high, "low", self.low, f"less than high = {self.high}")

    @property
    def width(self) -> float:
        """high - low."""
        return self.high - self.low

    @property
    def unit(self) -> float:
        """Grey levels, of the 255."""
        return 255 / self.width

    @property
    def log2_jacobian(self) -> float:
        """log2 of d unit interval / d x: 0 for [0, 1], -1 for [-1, 1]."""
        return -log2(self.width)

    def from_unit(self, unit: Any) -> Any:
        """[0, 1] to [low, high]."""
        return self.low + self.width * unit

    def to_unit(self, x: Any) -> Any:
        """[low, high] to [0, 1]. Not clipped."""
        return (x - self.low) / self.width

    def from_uint8(self, levels: Any) -> Any:
        """Grey levels 0..255, whole or not, to float32 in [low, high], equation (1)."""
        return self.from_unit(levels.astype(np.float32) / 255)

    def to_uint8(self, x: Any) -> UInt8[np.ndarray, "..."]:
        """[low, high] to the nearest of the grey levels 0..255; what lies outside is clipped."""
        return np.rint(255 * np.clip(self.to_unit(np.asarray(x)), 0, 1)).astype(np.uint8)

    @property
    def pixels(self) -> "Pixels":  # type: ignore[override]
        """Its own range."""
        return self

    def on_states(self, operator: Any) -> Any:
        return operator

    def in_range(self, x: Any, sigma: Any) -> Any:
        """So that most pixels are in [low, high]."""
        centre, half = (self.low + self.high) / 2, self.width / 2
        return centre + (x - centre) * half / np.maximum(half, 2 * sigma)

    def encode(self, data: Any) -> Any:
        """`from_uint8`."""
        return self.from_uint8(data)

    def decode(self, x: Any) -> UInt8[np.ndarray, "..."]:
        """`to_uint8`."""
        return self.to_uint8(x)

    def dequantized(self, levels: Any, u: Any) -> Any:
        """Equation (2) with y = levels + u."""
        return self.from_unit((levels.astype(np.float32) + u) / 256)

    def bits_per_dim(self, log_p: Any, dimensions: Any) -> Any:
        """Bits per dimension of 8-bit data whose dequantised form has density `log_p` (nats).

        -log p(y) / (D ln 2), which by equation (3) is -log p(x) / (D ln 2) + 8 - log2(width):
        the constant is 8 for [0, 1] and 7 for [-1, 1].
        """
        return -log_p / (dimensions * log(2)) + 8 + self.log2_jacobian

    def check(self, source: Source) -> None:
        require(
            source.dtype == np.uint8,
            "space",
            self,
            f"Scaled, since {source.name} is of {source.dtype} values, not of 8-bit pixels",
        )


@dataclass(frozen=True)
class Scaled(Space):
    """Real-valued data, standardised by equation (4); the identity by default.

    Attributes:
      mean, std: of the data: one number, or one for each channel.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    low: ClassVar[None] = None
    high: ClassVar[None] = None

    def __post_init__(self) -> None:
        finite = all(map(np.isfinite, (*self.mean, *self.std)))
        require(finite and self.mean, "mean", self.mean, "finite numbers")
        require(self.std and min(self.std) > 0, "std", self.std, "numbers above 0")

    @property
    def unit(self) -> Float[np.ndarray, " channels"]:
        """std."""
        return np.array(self.std)

    def encode(self, data: Any) -> Any:
        """Equation (4), in float32."""
        return (data.astype(np.float32) - _float32(self.mean)) / _float32(self.std)

    def decode(self, x: Any) -> Float32[np.ndarray, "..."]:
        """The inverse of `encode`."""
        return np.asarray(x, np.float32) * _float32(self.std) + _float32(self.mean)

    def check(self, source: Source) -> None:
        for field, values in (("mean", self.mean), ("std", self.std)):
            fits = len(values) in (1, source.channels)
            but = f"{source.name} has {source.channels} channels"
            require(fits, field, values, f"one number or as many as channels; {but}")


@dataclass(frozen=True)
class StrokeSpace(Space):
    """Movements of a pen, as states by equation (5).

    Attributes:
      std: of the offsets; `StrokeSource.std` measures it.
    """

    std: float = 1.0
    low: ClassVar[None] = None
    high: ClassVar[None] = None

    def __post_init__(self) -> None:
        require(0 < self.std < np.inf, "std", self.std, "a positive number")

    @property
    def unit(self) -> Float[np.ndarray, " channels"]:
        """std of the offsets; the pen as it is."""
        return np.array([self.std, self.std, 1.0])

    def encode(self, data: Any) -> Any:
        """Equation (5), in float32."""
        return data.astype(np.float32) / _float32((self.std, self.std, 1.0))

    def decode(self, x: Any) -> Float32[np.ndarray, "..."]:
        """The inverse of `encode`; the pen is up, 1, where its state is over 1/2, else 0."""
        x = np.asarray(x, np.float32)
        return np.concatenate([x[..., :2] * np.float32(self.std), x[..., 2:] > 0.5], axis=-1)

    def check(self, source: Source) -> None:
        but = f"{source.name} has {source.channels} channels of {source.dtype}"
        moves = source.channels == 3 and source.dtype == np.float32
        require(moves, "space", self, f"lines of (dx, dy, pen); {but}")


def _float32(values: tuple[float, ...]) -> Float32[np.ndarray, " channels"]:
    return np.array(values, np.float32)


UNIT = Pixels(0.0, 1.0)
CENTERED = Pixels(-1.0, 1.0)
SPACES: dict[str, type[Space]] = {
    "pixels": Pixels,
    "scaled": Scaled,
    "strokes": StrokeSpace,
}
