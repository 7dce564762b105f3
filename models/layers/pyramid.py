"""Pyramids beside a U-Net: of its input, joined on the way down, and of its output, on the way up.

With p_l the pyramid at level l, W a dense layer over channels, and / sqrt(2) only where sums are
rescaled:

    input    input_skip    p_{l+1} = down(p_l),   h + W p_{l+1}  or  [W p_{l+1}, h]          (1)
             residual      p_{l+1} = h = (conv_down(p_l) + h) / sqrt(2)                      (2)
    output   output_skip   p_l = up(p_{l+1}) + conv(act(norm(h))),   the output is p_0       (3)
             residual      p_l = h = (conv_up(p_{l+1}) + h) / sqrt(2)                        (4)

(Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", fig. 7; Song et al.
2021, appendix H.1.) The layers that a method makes belong to the network in whose call it runs.
"""

import dataclasses
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from models.layers.convolution import Conv, dense
from models.layers.normalization import GroupNorm
from models.layers.padding import Mask, without_padding
from models.layers.resampling import Downsample, Kernel, Upsample, resize_down, resize_up
from models.layers.residual import add_residual

Image = Float[Array, "b h w c"]


def concatenate(features: Image, h: Image) -> Array:
    """Both, one behind the other in the channels."""
    return jnp.concatenate([features, h], axis=-1)


COMBINATIONS: dict[str, Callable[[Any, Any], Array]] = {"sum": operator.add, "cat": concatenate}


@dataclasses.dataclass(frozen=True)
class NoInput:
    """No pyramid of the input, and the fields of those that there are.

    Attributes:
      kernel: of the FIR filter; None for plain averages.
      rescale: whether sums are divided by sqrt(2).
      combine: of (1), an entry of COMBINATIONS.
      dtype: of the computation.
    """

    kernel: Kernel | None
    rescale: bool
    combine: Callable[[Any, Any], Array]
    dtype: DTypeLike

    def join(
        self, level: int, h: Image, pyramid: Array, real: Mask | None = None
    ) -> tuple[Array, Array]:
        """`h`, half as high as level `level`, joined by the pyramid there; and that pyramid.
        real: a padding mask."""
        return h, pyramid


class InputSkip(NoInput):
    """Equation (1)."""

    def join(
        self, level: int, h: Image, pyramid: Array, real: Mask | None = None
    ) -> tuple[Array, Array]:
        pyramid = resize_down(without_padding(pyramid, real), self.kernel)
        features = dense(h.shape[-1], dtype=self.dtype, name=f"pyramid_in_{level}")(pyramid)
        return self.combine(features, h), pyramid


class InputResidual(NoInput):
    """Equation (2)."""

    def join(
        self, level: int, h: Image, pyramid: Array, real: Mask | None = None
    ) -> tuple[Array, Array]:
        name, width = f"pyramid_in_{level}", h.shape[-1]
        pyramid = without_padding(pyramid, real)
        pyramid = Downsample(width, True, self.kernel, self.dtype, name=name)(pyramid)
        h = add_residual(pyramid, h, self.rescale)
        return h, h


INPUTS: dict[str, type[NoInput]] = {
    "none": NoInput,
    "input_skip": InputSkip,
    "residual": InputResidual,
}


@dataclasses.dataclass(frozen=True)
class NoOutput:
    """No pyramid of the output, which is one of the features of level 0.

    Attributes:
      channels: of the output.
      act: the nonlinearity.
      init_scale: initial scale of the layers that make an output.
      kernel, rescale, dtype: see `NoInput`.
    """

    channels: int
    act: Callable[[Array], Array]
    init_scale: float
    kernel: Kernel | None
    rescale: bool
    dtype: DTypeLike

    def join(
        self, level: int, h: Image, pyramid: Array | None, real: Mask | None = None
    ) -> tuple[Array, Array | None]:
        """`h`, and the pyramid after this level; None before the first. real: a padding mask."""
        return h, None

    def output(self, h: Image, pyramid: Array | None, real: Mask | None = None) -> Array:
        """The output of the network, from the last features and the finished pyramid."""
        h = self._normalized("norm_out", h, real)
        return self._conv(self.channels, "conv_out", init_scale=self.init_scale)(h)

    def _normalized(self, name: str, h: Image, real: Mask | None) -> Array:
        """What a convolution is of."""
        return without_padding(self.act(GroupNorm(dtype=self.dtype, name=name)(h, real)), real)

    def _conv(self, width: int, name: str, **options: Any) -> Conv:
        return Conv(width, dtype=self.dtype, name=name, **options)


class OutputSkip(NoOutput):
    """Equation (3)."""

    def join(
        self, level: int, h: Image, pyramid: Array | None, real: Mask | None = None
    ) -> tuple[Array, Array | None]:
        name = f"pyramid_out_{level}"
        features = self._normalized(f"{name}_norm", h, real)
        image = self._conv(self.channels, name, init_scale=self.init_scale)(features)
        return h, image if pyramid is None else resize_up(
            without_padding(pyramid, real), self.kernel
        ) + image

    def output(self, h: Image, pyramid: Array | None, real: Mask | None = None) -> Array:
        assert pyramid is not None
        return pyramid


class OutputResidual(NoOutput):
    """Equation (4)."""

    def join(
        self, level: int, h: Image, pyramid: Array | None, real: Mask | None = None
    ) -> tuple[Array, Array | None]:
        name, width = f"pyramid_out_{level}", h.shape[-1]
        if pyramid is None:
            return h, self._conv(width, name)(self._normalized(f"{name}_norm", h, real))
        pyramid = without_padding(pyramid, real)
        pyramid = Upsample(width, True, self.kernel, self.dtype, name=name)(pyramid)
        h = add_residual(pyramid, h, self.rescale)
        return h, h


OUTPUTS: dict[str, type[NoOutput]] = {
    "none": NoOutput,
    "output_skip": OutputSkip,
    "residual": OutputResidual,
}
