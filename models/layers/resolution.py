"""How a U-Net goes from one resolution to the next: within residual blocks, or between them."""

import abc
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, DTypeLike

from models.layers.padding import without_padding
from models.layers.resampling import Downsample, Kernel, Upsample, resize_down, resize_up

Layer = Callable[..., Array]  # (h, embedding, dropout keys, padding mask) -> h
MakeBlock = Callable[..., nn.Module]  # block(width, resample=..., name=...)


@dataclasses.dataclass(frozen=True)
class ResolutionChange(abc.ABC):
    """Makes the layers that change the resolution of a network.

    Attributes:
      kernel: of the FIR filter; None for plain averages and repetitions.
      with_conv: whether layers of their own convolve.
      dtype: of the computation.
      shortcut_scale: initial scale of the shortcuts of the network's residual blocks.
    """

    kernel: Kernel | None
    with_conv: bool
    dtype: DTypeLike
    shortcut_scale: ClassVar[float]

    @abc.abstractmethod
    def shrink(self, block: MakeBlock, width: int, name: str) -> Layer:
        """Half the resolution; `block` makes residual blocks."""

    @abc.abstractmethod
    def grow(self, block: MakeBlock, width: int, name: str) -> Layer:
        """Twice the resolution."""


class WithinBlocks(ResolutionChange):
    """Residual blocks that resample both of their branches (Brock et al. 2019, "BigGAN")."""

    shortcut_scale: ClassVar[float] = 1.0  # as the original's 1x1 convolutions

    def shrink(self, block: MakeBlock, width: int, name: str) -> Layer:
        return block(width, resample=partial(resize_down, kernel=self.kernel), name=name)

    def grow(self, block: MakeBlock, width: int, name: str) -> Layer:
        return block(width, resample=partial(resize_up, kernel=self.kernel), name=name)


class BetweenBlocks(ResolutionChange):
    """Layers without an embedding between the blocks (Ho et al. 2020, "DDPM")."""

    shortcut_scale: ClassVar[float] = 0.1  # as the original's dense layers over channels

    def shrink(self, block: MakeBlock, width: int, name: str) -> Layer:
        layer = Downsample(width, self.with_conv, self.kernel, self.dtype, name=name)
        return lambda h, embedding, dropout_keys, real=None: layer(without_padding(h, real))

    def grow(self, block: MakeBlock, width: int, name: str) -> Layer:
        layer = Upsample(width, self.with_conv, self.kernel, self.dtype, name=name)
        return lambda h, embedding, dropout_keys, real=None: layer(without_padding(h, real))


RESOLUTION_CHANGES: dict[str, type[ResolutionChange]] = {
    "biggan": WithinBlocks,
    "ddpm": BetweenBlocks,
}
